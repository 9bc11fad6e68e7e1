"""Begin a run in a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfkd_lab.errors import RunError
from dfkd_lab.runs import standing
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.stored import Fields, opened, read_json

PROCESS = Fields(needed={"pid": int, "process_started": (int, None), "host": str})
LAST_BYTES = 2**16
"""Of a log, in which its last line is looked for."""
_children: list[subprocess.Popen[bytes]] = []
"""Popen warns when it is forgotten while its process runs, and these outlive whoever began them."""


def command(folder: RunFolder, trust_code: str = "") -> list[str]:
    """What begins or continues the run of a prepared folder; ``trust_code`` as in :func:`launch`."""
    trust = ["--trust-code", trust_code] if trust_code else []
    return [sys.executable, "-m", "dfkd_lab", "resume", str(folder.path), *trust]


def launch(
    folder: RunFolder, trust_code: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Begin or continue the run of a prepared folder in a process of its own, which outlives this one.

    What it prints is in ``log.txt``; everything else is in the folder. ``trust_code`` says which text of the run's own
    Python files may be executed there, as :func:`~dfkd_lab.runs.planning.resolve` has it; "" none. ``environment`` is
    put over that of this process.
    """
    return begin(command(folder, trust_code), folder.path / "log.txt", environment)


def begin(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Begin a process that outlives this one; what it prints is put behind what ``log`` has.

    Which process that is stands beside ``log``, for others to know it before it says anything itself.
    """
    with log.open("ab") as file:
        child = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=os.name != "nt",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # of Windows alone
        )
    _children.append(child)
    with contextlib.suppress(OSError):  # it runs already, and whoever began it knows it without
        write_atomically(_process_file(log), json.dumps(standing.process(child.pid)).encode(), shared=True)
    return child


def is_starting(folder: RunFolder) -> bool:
    """Whether a process was begun for a run, by whatever process, and has not said yet how the run stands."""
    begun = _process_beside(folder.path / "log.txt")
    return bool(begun) and folder.status().get("pid") != begun["pid"] and standing.lives_here(begun)


def is_begun(log: Path) -> bool:
    """Whether the process lives that was begun last with this ``log``, by whatever process."""
    return standing.lives_here(_process_beside(log))


def at_work() -> bool:
    """Whether a process that was begun by this one has not ended: it may not have said so in its run folder yet."""
    return any(child.poll() is None for child in _children)


def last_line(folder: RunFolder) -> str:
    """The last thing that the run's process printed."""
    try:
        file = opened(folder.path / "log.txt", "remove it")
    except RunError:
        file = None
    with file or io.BytesIO() as log:
        log.seek(-min(log.seek(0, os.SEEK_END), LAST_BYTES), os.SEEK_END)
        lines = log.read().decode(errors="replace").split("\n")
    return next((text.strip() for text in reversed(lines) if text.strip()), "its process ended without a word")


def _process_file(log: Path) -> Path:
    return log.with_suffix(".process.json")


def _process_beside(log: Path) -> dict[str, Any]:
    """Which process was begun last with this ``log``; empty if that is not known."""
    try:
        return read_json(_process_file(log), PROCESS, "remove it")
    except RunError:
        return {}
