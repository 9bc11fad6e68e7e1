"""The folder of an export: this student's alone, one export at a time, and in it only files that were proven.

What is there and is not as an export wrote it is never written over: it is set aside, and said.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.export.student import PARITY
from dfkd_lab.runs import RunFolder
from dfkd_lab.system.files import sha256_of, write_atomically
from dfkd_lab.system.stored import Fields, misfit, read_json

CONFIG, CARD = "config.json", "README.md"
COMPARED = re.compile(r"model\.(safetensors|pt2|onnx|int8\.onnx)")
"""Names of the files that are held against the student."""
IMAGES = "images"
NAMES = re.compile(rf"{COMPARED.pattern}|{IMAGES}|[^./\\][^/\\]*\.py")
"""Of what an export writes beside what describes it."""
UNPROVEN, ASIDE, LOCK = ".unproven", ".before", ".lock"
"""How the name of a file ends that was not held against the student yet (a killed export may leave one); of one that
was set aside; and the file by which one export at a time writes here."""
OURS = Fields(needed={"dfkd_lab": Fields(needed={"student_sha256": str}, known={"teacher_license": str})})
DESCRIBED = {"what": str, "sha256": str, "bytes": int}
FOUND = Fields(
    needed={**DESCRIBED, "same_class": float, "relative_difference": float, "passed": bool, "accepted": bool},
    known={"size_step": int},
)
"""Row of a file that was compared."""
KEPT = Fields(needed={"files": Fields(others=Fields(known=DESCRIBED))}, known={"described": Fields(others=str)})
ANOTHER = "move it away, or name another folder with --out"
USUAL = re.compile(r"export(?:-round(\d+))?")


def usual(run: Path, round: int = 0) -> Path:
    """Where in a run folder its finished student goes, or, so that this stays free, the one of an earlier ``round``."""
    return run / (f"export-round{round}" if round else "export")


def latest(run: Path) -> Path | None:
    """The whole export in a run folder: of the finished student, else of the latest round."""
    found = ((match, each) for each in run.glob("export*") if (match := USUAL.fullmatch(each.name)))
    whole = {float(match[1] or "inf"): each for match, each in found if (each / CARD).is_file()}  # the card is last
    return whole[max(whole)] if whole else None


class Destination:
    """A folder that is new, empty, or holds an export of the same student.

    Args:
        path: Of the folder.
        sha256: Of the student's weights.
        say: Told what is there and is not as an export wrote it.

    Raises:
        SpecError: if it holds something else.
    """

    def __init__(self, path: Path, sha256: str, say: Callable[[str], object] = lambda sentence: None):
        self.path, self.sha256, self.say = path, sha256, say
        if path.exists() and not path.is_dir():
            raise SpecError(f"out = '{path}' is a file; allowed: a folder that is new, empty, or holds such an export")
        if path.is_symlink() and not path.exists():
            raise SpecError(f"out = '{path}' is a link that leads nowhere; {ANOTHER}")
        if RunFolder(path).exists():
            raise SpecError(f"out = '{path}' is a run folder; name another with --out, or none for its folder export/")
        self.rows: dict[str, dict[str, Any]] = {}
        """What is there as an export wrote it, by name, as parity.json has it."""
        self.described: dict[str, str] = {}
        """The SHA-256 of what describes it, by name, as it was written."""
        self.teacher_license = ""
        """As an earlier export was told."""
        self._refuse_other()

    def _refuse_other(self) -> None:
        """Refuse what is neither empty nor an export of this student; of one, learn the license that it was told."""
        passing = (LOCK, f"{CONFIG}.tmp")
        there = (
            sorted(each.name for each in self.path.iterdir() if each.name not in passing) if self.path.exists() else ()
        )
        if not there:
            return
        try:
            found = read_json(self.path / CONFIG, OURS, ANOTHER)
        except DamagedFile:  # somebody else's, or of no use: not ours to write over
            found = {}
        if not found:
            raise SpecError(f"out = '{self.path}' holds something else ({there[0]}); {ANOTHER}")
        if (other := found["dfkd_lab"]["student_sha256"]) != self.sha256:
            raise SpecError(f"out = '{self.path}' holds the export of another student (sha256 {other[:16]}); {ANOTHER}")
        self.teacher_license = found["dfkd_lab"].get("teacher_license", "")

    def _read(self) -> None:
        """What an earlier export of this student has left, so far as it still is as it was written."""
        self._refuse_other()
        kept = _record_of(self.path)
        self.described, self.rows = kept.get("described", {}), _unchanged(self.path, kept)

    @contextmanager
    def open(self, config: Callable[[], dict[str, Any]]) -> Iterator[None]:
        """Make the folder, say first whose it is, and keep other exports out for as long as this is open.

        Args:
            config: Of the network, asked for when what is there was read.

        Raises:
            RunError: if another one is writing there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / LOCK
        if file.is_symlink():
            file.unlink()
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"another export is writing to {self.path}; wait for its end, or name another --out"
            ) from None
        except NotImplementedError:  # a file system without locks
            pass
        try:
            self._read()  # only now: another may have ended since
            self._tidy()
            self.describe(CONFIG, config())
            yield
        finally:
            file.unlink(missing_ok=True)
            lock.release()

    def _tidy(self) -> None:
        """Remove what killed exports left, and say what is no file of an export any more."""
        for path in sorted(self.path.iterdir()):
            stem, dot, rest = path.name.partition(UNPROVEN)
            if dot and rest in ("", ".tmp") and NAMES.fullmatch(stem):
                _remove(path)
            elif path.name not in self.rows and (COMPARED.fullmatch(path.name) or path.name == IMAGES):
                self.say(f"{path} is not as an export wrote it, and is not listed")

    def describe(self, name: str, content: str | dict[str, Any]) -> None:
        """Write what describes the export; a text that a person has changed since is set aside."""
        text = (content if isinstance(content, str) else json.dumps(content, indent=1) + "\n").encode()
        path, known = self.path / name, (self.described.get(name), _digest(text))
        if path.is_symlink() or path.is_dir():
            self._set_aside(path)
        elif path.exists() and sha256_of(path) not in known:
            self._set_aside(path, path.read_bytes())  # a copy: a folder without its config.json is nobody's
        write_atomically(path, text)
        self.described[name] = _digest(text)
        self._record(self.rows)

    def put(self, name: str, content: bytes, prove: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Write a file, and give its row; it takes its place if the row says that it was "passed" or "accepted".

        Else what an earlier export proved stays.

        Args:
            name: Of the file.
            content: Of the file.
            prove: Reads the file that it is given, and gives its row.
        """
        unproven = self.path / f"{name}{UNPROVEN}"
        write_atomically(unproven, content)
        try:
            row = prove(unproven)
            if row["passed"] or row["accepted"]:
                self._take(name, unproven, {**row, "bytes": len(content)})
        finally:
            unproven.unlink(missing_ok=True)
        return row

    def keep(self, name: str, content: bytes, what: str) -> None:
        """Write a file that nothing is to be proven of."""
        unproven = self.path / f"{name}{UNPROVEN}"
        write_atomically(unproven, content)
        self._take(name, unproven, {"what": what, "bytes": len(content)})

    def put_folder(self, name: str, files: Iterable[tuple[Path, bytes]], what: str) -> None:
        """Write a folder of files, all of them or none."""
        unproven = self.path / f"{name}{UNPROVEN}"
        try:
            size = 0
            for path, content in files:
                (unproven / path).parent.mkdir(parents=True, exist_ok=True)
                size += (unproven / path).write_bytes(content)
            self._take(name, unproven, {"what": what, "bytes": size})
        finally:
            _remove(unproven)

    def _take(self, name: str, made: Path, row: dict[str, Any]) -> None:
        """Put what was ``made`` in its place; what is there and is not as an export wrote it is set aside."""
        path = self.path / name
        if path.is_symlink() or (name not in self.rows and path.exists()):
            self._set_aside(path)
        rows = {
            **{key: each for key, each in self.rows.items() if key != name},
            name: {**row, "sha256": digest_of(made)},
        }
        self._record(rows)  # first: a file without a row would count as somebody else's
        if path.is_dir():
            _remove(path)
        made.replace(path)
        self.rows = rows

    def _record(self, rows: dict[str, dict[str, Any]]) -> None:
        found = {"student_sha256": self.sha256, "described": self.described, "files": rows}
        write_atomically(self.path / PARITY, (json.dumps(found, indent=1) + "\n").encode())

    def _set_aside(self, path: Path, content: bytes | None = None) -> None:
        """Keep what is at ``path`` under another name, or a copy of its ``content``, of which one is enough."""
        number = 0
        while os.path.lexists(aside := path.with_name(f"{path.name}{ASIDE}{number or ''}")):
            if content is not None and aside.is_file() and aside.read_bytes() == content:
                return
            number += 1
        self.say(f"{path} is not as an export wrote it, and is kept as {aside.name}")
        if content is None:
            path.replace(aside)
        else:
            write_atomically(aside, content)


def proven(folder: Path) -> dict[str, dict[str, Any]]:
    """The files of an export that are as it wrote them: their rows in parity.json, by name.

    Raises:
        DamagedFile: if parity.json cannot be read.
    """
    return _unchanged(folder, _record_of(folder))


def _record_of(folder: Path) -> dict[str, Any]:
    return read_json(folder / PARITY, KEPT, "remove it, and nothing there counts as proven")


def _unchanged(folder: Path, kept: dict[str, Any]) -> dict[str, dict[str, Any]]:
    ours = {name: row for name, row in kept.get("files", {}).items() if NAMES.fullmatch(name) and name.isprintable()}
    return {name: row for name, row in ours.items() if _is_unchanged(folder / name, row)}


def _is_unchanged(path: Path, row: dict[str, Any]) -> bool:
    if path.is_symlink() or not path.exists():  # of somebody else's making
        return False
    is_compared = COMPARED.fullmatch(path.name)
    if misfit(row, FOUND if is_compared else Fields(needed=DESCRIBED)):
        return False
    if is_compared and not (row["passed"] or row["accepted"]):
        return False
    return digest_of(path) == row["sha256"]


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of the names and contents of all that is in it."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(each for each in path.rglob("*") if each.is_symlink() or not each.is_dir())
    lines = [
        f"{each.relative_to(path).as_posix()} "
        f"{sha256_of(each) if each.is_file() and not each.is_symlink() else 'no file'}"
        for each in files
    ]
    return _digest("\n".join(lines).encode(errors="surrogateescape"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _remove(path: Path) -> None:
    """A file, a folder or a link, if it is there; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
