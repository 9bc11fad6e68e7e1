"""Where a computation runs, and what has to be recorded of that."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from dfkd_lab import environment
from dfkd_lab.spec import SpecError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's: how much may lie free before it is returned, and how large a block gets a mapping of its own."""


def check_device(wish: str) -> None:
    """Refuse a GPU that is not there.

    Raises:
        SpecError: for "cuda" where torch sees none.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise SpecError("device = 'cuda', but torch sees no GPU here; allowed: 'auto' or 'cpu'")


def pick_device(wish: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means here."""
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free for this process on the device now; None where nobody says."""
    if device.type == "cuda":
        held_back = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held_back
    try:
        return min([_kernel_says("meminfo", "MemAvailable"), *_left_by_limits()])
    except OSError:
        return None


def used_memory(device: torch.device) -> int:
    """Bytes this process has on the device now; on a CPU outside Linux the most it ever had."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        return _kernel_says("self/status", "VmRSS")
    except (OSError, KeyError):
        return peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """The largest memory so far in bytes: the device's on a GPU, the process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        return _kernel_says("self/status", "VmHWM")
    except (OSError, KeyError):  # not Linux, where getrusage would count the process that started this one as well
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def keep_freed_memory() -> None:
    """Let this process keep the memory that tensors on the CPU give back, for the next ones of the same size.

    By default glibc returns large blocks to the system, which then zeroes each page of every map of every step anew.
    The process holds what it needed at its peak, up to 2 GB of it free. Other allocators are left as they are.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30)


def _kernel_says(table: str, row: str) -> int:
    """Bytes in a ``row`` of a table below /proc.

    Raises:
        OSError: if there is no such table here.
        KeyError: if it has no such row.
    """
    rows = dict(line.split(":", 1) for line in Path("/proc", table).read_text().splitlines())
    return int(rows[row].split()[0]) * 1024


def _left_by_limits() -> list[int]:
    """What each memory limit of the control groups this process is in leaves, of either version of them."""
    root = Path("/sys/fs/cgroup")
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        base, limit, used = root, "memory.max", "memory.current"
        if "memory" in controllers.split(","):
            base, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        elif controllers:
            continue
        inner = base / path[1:]
        for folder in (each for each in (inner, *inner.parents) if each.is_relative_to(base)):
            with contextlib.suppress(OSError, ValueError):  # outside a container, or "max": no limit here
                stat = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                left = int((folder / limit).read_text()) - int((folder / used).read_text())
                found.append(left + int(stat["inactive_file"]))  # files the kernel keeps can be dropped
    return found


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {os.cpu_count()} cores"


def provenance(device: torch.device) -> dict[str, Any]:
    """What every recorded figure is shown with: versions, commit, device, and threads on the CPU."""
    return {
        "versions": environment.versions(),
        "commit": commit(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def commit() -> str:
    """The commit of this code, with "+" if it was changed since; "unknown" outside a checkout."""
    here = Path(__file__).parent
    ask = lambda *words: subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout  # noqa: E731
    try:
        return ask("rev-parse", "HEAD").strip() + ("+" if ask("status", "--porcelain", "--", ".").strip() else "")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"
