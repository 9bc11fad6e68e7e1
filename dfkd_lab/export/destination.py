"""The folder of an export: this student's alone, and in it only files that were proven."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dfkd_lab.errors import DamagedFile, SpecError
from dfkd_lab.runs import RunFolder
from dfkd_lab.system.files import sha256_of, write_atomically
from dfkd_lab.system.stored import Fields, read_json

CONFIG, PARITY, CARD = "config.json", "parity.json", "README.md"
NAMES = re.compile(r"model\.(safetensors|pt2|onnx|int8\.onnx)|images|\w[\w-]*\.py")
"""Of what an export writes beside what describes it."""
UNPROVEN = ".unproven"
"""How the name of a file ends that was not held against the student yet; a killed export may leave one."""
OURS = Fields(needed={"dfkd_lab": Fields(needed={"student_sha256": str})})
NUMBERS = dict.fromkeys(("same_class", "relative_difference"), float)
ROW = Fields(needed={"what": str}, known={**NUMBERS, "sha256": str, "bytes": int, "accepted": bool, "size_step": int})
KEPT = Fields(needed={"files": Fields(others=ROW)})
ANOTHER = "give another --out"


class Destination:
    """A folder that is new, empty, or holds an export of the same student.

    Args:
        path: Of the folder.
        sha256: Of the student's weights.

    Raises:
        SpecError: if it holds something else.
    """

    def __init__(self, path: Path, sha256: str):
        self.path, self.sha256 = path, sha256
        if path.exists() and not path.is_dir():
            raise SpecError(f"out = '{path}' is a file; allowed: a folder that is new, empty, or holds such an export")
        if RunFolder(path).exists():
            raise SpecError(f"out = '{path}' is a run folder; {ANOTHER}, or none for its folder export/")
        self.rows = self._earlier() if path.is_dir() else {}
        """What is there, by name, as parity.json has it."""

    def _earlier(self) -> dict[str, dict[str, Any]]:
        """The files of an earlier export of this student that are still as they were written."""
        there = sorted(each.name for each in self.path.iterdir())
        if not there:
            return {}
        try:
            found = read_json(self.path / CONFIG, OURS, ANOTHER)
        except DamagedFile:  # somebody else's, or of no use: not ours to write over
            found = {}
        if not found:
            raise SpecError(f"out = '{self.path}' holds something else ({there[0]}); {ANOTHER}, or an empty folder")
        if (other := found["dfkd_lab"]["student_sha256"]) != self.sha256:
            raise SpecError(f"out = '{self.path}' holds the export of another student (sha256 {other[:16]}); {ANOTHER}")
        kept = read_json(self.path / PARITY, KEPT, f"remove it, or {ANOTHER}").get("files", {})
        return {name: row for name, row in kept.items() if self._is_unchanged(name, row)}

    def _is_unchanged(self, name: str, row: dict[str, Any]) -> bool:
        path = self.path / name
        if not NAMES.fullmatch(name) or path.is_symlink():  # of somebody else's making
            return False
        return path.is_dir() if "sha256" not in row else path.is_file() and sha256_of(path) == row["sha256"]

    def open(self, config: dict[str, Any]) -> None:
        """Make the folder, and say first whose it is."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.write(CONFIG, config)

    def write(self, name: str, content: str | dict[str, Any]) -> None:
        """Write what describes the export."""
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        _write(self.path / name, text.encode())

    def put(self, name: str, content: bytes, prove: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Write a file, and give its row; it takes its place if the row says that it was "passed" or "accepted".

        Else no file of that name is left.

        Args:
            name: Of the file.
            content: Of the file.
            prove: Reads the file that it is given, and gives its row.
        """
        unproven = self.path / f"{name}{UNPROVEN}"
        self.rows.pop(name, None)
        _write(unproven, content)
        try:
            row = prove(unproven)
            if row["passed"] or row["accepted"]:
                self.rows[name] = {**row, "bytes": len(content), "sha256": sha256_of(unproven)}
                unproven.replace(self.path / name)
            else:
                (self.path / name).unlink(missing_ok=True)
        finally:
            unproven.unlink(missing_ok=True)
        return row

    def keep(self, name: str, content: bytes, what: str) -> None:
        """Write a file that nothing is to be proven of."""
        _write(self.path / name, content)
        self.rows[name] = {"what": what, "bytes": len(content), "sha256": sha256_of(self.path / name)}

    def put_folder(self, name: str, files: Iterable[tuple[Path, bytes]], what: str) -> None:
        """Write a folder of files, all of them or none."""
        unproven = self.path / f"{name}{UNPROVEN}"
        if unproven.is_symlink():
            unproven.unlink()
        shutil.rmtree(unproven, ignore_errors=True)
        self.rows.pop(name, None)
        try:
            for path, content in files:
                (unproven / path).parent.mkdir(parents=True, exist_ok=True)
                (unproven / path).write_bytes(content)
            shutil.rmtree(self.path / name, ignore_errors=True)
            unproven.replace(self.path / name)
        finally:
            shutil.rmtree(unproven, ignore_errors=True)
        self.rows[name] = {"what": what}


def _write(path: Path, content: bytes) -> None:
    """Put ``content`` into ``path``, and not to where a link that lies in its way leads."""
    temporary = path.with_name(f"{path.name}.tmp")
    if temporary.is_symlink():
        temporary.unlink()
    write_atomically(path, content)
