"""A command of ours that a button begins: a process of its own, one a run folder, whichever run is shown meanwhile."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, own_code

MOST_SAID = 2**16
"""Bytes of what a process said that are shown."""


class RunningCommand:
    """``python -m dfkd_lab NAME RUN ...`` for the run folder that is shown, and for others.

    Args:
        name: Of the command.
        working: What is said while it is on.
    """

    def __init__(self, name: str, working: str):
        self.name, self.working = name, working
        self.children: dict[Path, subprocess.Popen[bytes]] = {}
        """Processes that are on, by run folder."""
        self.said: dict[Path, tuple[str, bool]] = {}
        """What the last one of each folder said, and whether it was refused."""
        self._outputs: dict[Path, IO[bytes]] = {}
        self._lock = threading.Lock()

    def begin(self, folder: RunFolder, *words: str) -> None:
        """Start it, unless one of this folder is on; what a person trusts in this kernel it may execute."""
        if folder.path in self.children:
            return
        try:
            files = own_code.files_of(folder.spec()).values()
        except (RunError, SpecError) as error:  # of a folder that is gone or damaged since
            self.said[folder.path] = str(error), True
            return
        trusted = all(python_file.trusted(name) for name in files)  # typed in this kernel
        trust = ["--trust-code"] if files and trusted else []
        output = tempfile.TemporaryFile()  # noqa: SIM115 - read at its end; a pipe that nobody reads fills up
        self._outputs[folder.path] = output
        self.children[folder.path] = subprocess.Popen(
            [sys.executable, "-m", "dfkd_lab", self.name, str(folder.path.resolve()), *words, *trust],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.said[folder.path] = self.working, False

    def refresh(self) -> None:
        """Look which processes have ended."""
        with self._lock:  # a click and the live view may look at once
            for path in [path for path, child in self.children.items() if child.poll() is not None]:
                self._ended(path)

    def is_on(self, folder: RunFolder | None) -> bool:
        """Whether a process of this folder is on."""
        return folder is not None and folder.path in self.children

    def about(self, folder: RunFolder | None) -> tuple[str, bool]:
        """What is to be said of this folder, and whether that is an alert."""
        return self.said.get(folder.path, ("", False)) if folder else ("", False)

    def _ended(self, path: Path) -> None:
        code = self.children.pop(path).returncode
        with self._outputs.pop(path) as output:
            output.seek(0)
            text = output.read(MOST_SAID).decode(errors="replace").strip()
        self.said[path] = text or f"it ended without a word (status {code})", code != 0
