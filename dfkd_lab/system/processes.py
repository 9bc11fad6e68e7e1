"""Processes: what tunes this one, which of them are alive, and what only some systems can say of them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

GOMP_SPINCOUNT = "3000"
"""How often an OpenMP thread looks for work before it sleeps. Its own measure is a hundred times that, which beside a
browser, a notebook or a second run steals the cores that the others wait for; much less, and a small network's next
operator finds the threads asleep."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt: how much may lie free before it is returned; how large a block is mapped by itself."""


def tune_process() -> None:
    """Tune this process for training on a CPU: how OpenMP's threads wait, and what the C allocator keeps.

    Importing the library changes nothing of the process that imports it; the command line, a process that the panel
    starts, and the benchmarks call this by name, and a session on a CPU asks for the second half. It has to come before
    torch is imported, which reads the first setting once; what the environment says already stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", GOMP_SPINCOUNT)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Have the C allocator keep what tensors on the CPU give back, for the next ones of the same size.

    By default glibc returns large blocks to the system, which then zeroes each page of every feature map of every step
    anew. The process holds what it needed at its peak, up to 2 GB of it free.

    Returns:
        Whether the allocator here was told; only glibc can be.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30)
        return True
    return False


def usable_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def psutil_or_none() -> ModuleType | None:
    """psutil, which Jupyter brings; None on a machine that has torch alone, where memory is then unknown."""
    try:
        return importlib.import_module("psutil")
    except ImportError:
        return None


def is_alive(pid: int, since: int | None = None) -> bool:
    """Whether process ``pid`` of this machine still runs; one that ended and was not collected does not.

    Args:
        pid: Its number; one that cannot be is not alive.
        since: When it was started, as :func:`started` says, for numbers are given again; None does not look.
    """
    if not 0 < pid < 2**31 or (since is not None and started(pid) not in (None, since)):
        return False
    psutil = psutil_or_none()
    if psutil is None:
        return _answers(pid)
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def started(pid: int) -> int | None:
    """When process ``pid`` was started, in ticks since the machine was, which no clock moves; None if unknown."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None  # no such process, or no Linux


def _answers(pid: int) -> bool:
    if os.name == "nt":
        return True  # a signal would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
