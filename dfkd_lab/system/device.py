"""The device a run computes on, its memory, and what is recorded of where a figure was measured."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.system import environment
from dfkd_lab.system.processes import psutil_or_none

AVAILABLE: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
"""Devices beside the CPU, and who says whether this machine has one."""


def check_device(name: str) -> None:
    """Refuse a device that is not there.

    Raises:
        SpecError: for "cuda" or "mps" where torch sees none.
    """
    if name in AVAILABLE and not AVAILABLE[name]():
        raise SpecError(f"device = '{name}', but torch sees no such device here; allowed: 'auto' or 'cpu'")


def pick_device(name: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "mps" means here; "auto" never takes "mps", which is untested."""
    if name == "auto":
        name = "cuda" if AVAILABLE["cuda"]() else "cpu"
    return torch.device(name)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free for this process on ``device`` now; None where nobody says (no psutil)."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    psutil = psutil_or_none()
    return None if psutil is None else int(psutil.virtual_memory().available)


def used_memory(device: torch.device) -> int:
    """Bytes this process holds on ``device`` now; 0 where nobody says (no psutil)."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    psutil = psutil_or_none()
    return 0 if psutil is None else int(psutil.Process().memory_info().rss)


def peak_memory(device: torch.device) -> int:
    """The most bytes this process ever held: on the device for a GPU, in all for a CPU; 0 where nobody says.

    Linux and Windows keep the peak; elsewhere it is what the process holds now.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one as well
        rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(rows["VmHWM"].split()[0]) * 1024
    psutil = psutil_or_none()
    return 0 if psutil is None else int(getattr(psutil.Process().memory_info(), "peak_wset", used_memory(device)))


WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def check_reproducible(device: torch.device, requested: bool) -> None:
    """Refuse kernels of always the same bits where it is too late to ask for them.

    Raises:
        SpecError: if CUDA was used in this process before, without the environment variable that its library reads.
    """
    if requested and device.type == "cuda" and WORKSPACE not in os.environ:
        if torch.cuda.is_initialized():
            raise SpecError(f"deterministic = True needs {WORKSPACE}=:4096:8 in the environment before a GPU is used")
        os.environ[WORKSPACE] = ":4096:8"


def has_same_bits(device: torch.device, requested: bool) -> bool:
    """Whether the kernels on ``device`` give the same bits each time: a CPU's always, a CUDA GPU's if requested."""
    return device.type == "cpu" or (requested and device.type == "cuda")


@contextlib.contextmanager
def reproducible(device: torch.device, requested: bool) -> Iterator[None]:
    """Inside, a CUDA GPU computes with kernels that give the same bits each time.

    Raises:
        RunError: where an operator has no such kernel.
    """
    before = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(before or (requested and device.type == "cuda"))
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        operator = str(error).split(" ")[0]
        raise RunError(f"deterministic = True, and {operator} has no such kernel here; allowed: False") from None
    finally:
        torch.use_deterministic_algorithms(before)


def cpu_capabilities() -> Mapping[str, Any]:
    """What this CPU's instructions can do, by name ("amx_bf16"); nothing is known before torch 2.12."""
    found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    kind = "Apple GPU" if device.type == "mps" else "CPU"
    return f"{kind} {platform.machine()}, {os.cpu_count()} cores"


def provenance(device: torch.device) -> dict[str, Any]:
    """What every recorded figure is shown with: versions, commit, device, and threads on the CPU."""
    return {
        "versions": environment.versions(),
        "commit": commit(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def commit() -> str:
    """The commit of this code, with "+" if it was changed since; "unknown" outside a checkout.

    $DFKD_COMMIT says it of a copy whose history did not come along.
    """
    if stated := os.environ.get("DFKD_COMMIT"):
        return stated
    here = Path(__file__).parents[1]
    git = lambda *words: subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout  # noqa: E731
    try:
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--", ".").strip() else "")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"
