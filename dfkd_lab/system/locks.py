"""Locks, on which it rests that one process at a time writes a run: whether one is held, and a folder keeps any."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

WITHOUT_LOCKS = "{} is on a file system that keeps no locks: begin what writes there from one place at a time"
ANOTHER = (
    "import sys, filelock\ntry: filelock.FileLock(sys.argv[1], timeout=0).acquire()\nexcept filelock.Timeout: exit(75)"
)
"""A process that exits with 75 if somebody else holds the lock."""


def keeps_locks(folder: Path) -> bool:
    """Whether what one process locks in ``folder`` is locked for another one of this machine.

    Other machines are not asked: Lustre keeps locks between them only where it is mounted with ``flock``.
    """
    file = folder / f".locks.{os.getpid()}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # filelock's, that it makes do without
            with FileLock(file, timeout=10):
                words = [sys.executable, "-W", "ignore", "-c", ANOTHER, str(file)]
                return subprocess.run(words, capture_output=True, check=False).returncode == 75
    except (OSError, Warning, NotImplementedError):
        return False
    finally:
        file.unlink(missing_ok=True)


def is_held(file: Path) -> bool:
    """Whether somebody holds the lock ``file``."""
    if not file.is_file():
        return False
    probe = FileLock(file)
    try:
        probe.acquire(timeout=0.03, poll_interval=0.01)  # another who only looks has it for a moment
    except Timeout:
        return True
    probe.release()
    return False
