"""Runs that a person has put in a row: a file that may change while a process works it off."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.launching import begin, is_begun
from dfkd_lab.runs.standing import AT_WORK
from dfkd_lab.spec import unknown
from dfkd_lab.system import environment
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.locks import is_held
from dfkd_lab.system.stored import Fields, read_json

MOST_JOBS = 1024
SHAPE = Fields(
    needed={"root": str, "runs": [str], "jobs": int, "held": bool, "asked": int, "trusted": Fields(others=str)}
)
"""Of the file; ``root`` is for a person who looks into it."""


@dataclasses.dataclass
class Row:
    """What the file says."""

    runs: list[str] = dataclasses.field(default_factory=list)
    """Run folders, as they are called below the order's root; the first is computed first."""
    jobs: int = 1
    """How many at a time."""
    held: bool = False
    """Whether none is begun."""
    asked: int = 0
    """How often somebody asked for what is there: what failed before is then tried again."""
    trusted: dict[str, str] = dataclasses.field(default_factory=dict)
    """By run, which text of its own Python files was named when it was planned; see ``RunFolder.trusted_code``."""


class Order:
    """The runs of ``root`` that are to be computed, the first one first.

    The file is in the user's cache, not in ``root``: it holds which texts of Python files may be executed for which
    run, and a folder that somebody else gave cannot say that.

    Args:
        root: Holds the run folders.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).resolve()
        folder, stem = environment.cache() / "queues", hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        self.file, self.log = folder / f"{stem}.json", folder / f"{stem}.log"
        self._change, self._work = (FileLock(folder / f"{stem}.{what}.lock") for what in ("change", "work"))

    def read(self) -> Row:
        """What the file says now; an empty row if there is none.

        Raises:
            RunError: if it is damaged.
        """
        found = read_json(self.file, SHAPE, "remove it, and put the runs into the queue again")
        if not found:
            return Row()
        jobs = min(max(found["jobs"], 1), MOST_JOBS)
        return Row(found["runs"], jobs, found["held"], found["asked"], dict(found["trusted"]))

    @contextlib.contextmanager
    def changing(self) -> Iterator[Row]:
        """The row, to be changed; nobody else changes it until the end of the block, and it is written then.

        Raises:
            RunError: if the file is damaged, or cannot be written.
        """
        with self._said():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._change.acquire()
        try:
            row = self.read()
            before = dataclasses.asdict(row)
            yield row
            if (after := dataclasses.asdict(row)) != before:
                with self._said():
                    write_atomically(self.file, json.dumps({"root": str(self.root), **after}, indent=1).encode())
        finally:
            self._change.release()

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """What the system says, as a sentence."""
        try:
            yield
        except OSError as error:
            raise RunError(f"cannot write the queue {self.file}: {error.strerror}") from None

    def folder(self, name: str, row: Row | None = None) -> RunFolder:
        """The run folder that is called ``name``; with ``row``, it also knows which code was trusted for it."""
        found = RunFolder(self.root / name)
        found.trusted_code = row.trusted.get(name, "") if row else ""
        return found

    def name_of(self, folder: RunFolder) -> str:
        """What a run folder is called in the row."""
        return Path(os.path.relpath(folder.path.resolve(), self.root)).as_posix()

    def add(self, folders: Iterable[RunFolder]) -> None:
        """Put prepared run folders at the end; those that wait already stay where they are, finished ones go.

        Raises:
            RunError: as :meth:`changing`.
        """
        with self.changing() as row:
            row.runs = [each for each in row.runs if self.folder(each).status()["state"] not in ("finished", "gone")]
            for folder in folders:
                name = self.name_of(folder)
                row.runs += [] if name in row.runs else [name]
                row.trusted[name] = folder.trusted_code
            row.trusted = {name: text for name, text in row.trusted.items() if text and name in row.runs}
            row.asked += 1

    def move(self, name: str, by: int) -> None:
        """Have ``name`` computed ``by`` places later, or sooner if below 0; what is finished counts as no place.

        Raises:
            SpecError: if there is no such run in the row.
            RunError: as :meth:`changing`.
        """
        with self.changing() as row:
            _check_named(name, row)
            waiting = [each for each in row.runs if each == name or self.folder(each).status()["state"] != "finished"]
            place = waiting.index(name) + by
            other = row.runs.index(waiting[min(max(place, 0), len(waiting) - 1)])
            row.runs.remove(name)
            row.runs.insert(other, name)

    def cancel(self, name: str) -> None:
        """Take ``name`` out of the row: a run that never began is removed, one that is at work ends, saved.

        Raises:
            SpecError: if there is no such run in the row.
            RunError: as :meth:`changing`.
        """
        with self.changing() as row:
            _check_named(name, row)
            row.runs.remove(name)
            folder = self.folder(name)
            state, was_begun = folder.status()["state"], (folder.path / "log.txt").exists()
            if state == "new" and not was_begun:
                shutil.rmtree(folder.path)
            elif state in AT_WORK:
                folder.request("stop")

    def hold(self, held: bool) -> None:
        """Begin no more runs; or go on.

        Raises:
            RunError: as :meth:`changing`.
        """
        with self.changing() as row:
            row.held, row.asked = held, row.asked + (not held)

    def set_jobs(self, jobs: int) -> None:
        """Have ``jobs`` runs at work at a time.

        Raises:
            SpecError: if that is no number from 1 to :data:`MOST_JOBS`.
            RunError: as :meth:`changing`.
        """
        if not 1 <= jobs <= MOST_JOBS:
            raise SpecError(f"jobs = {jobs}; allowed: 1..{MOST_JOBS}")
        with self.changing() as row:
            row.jobs = jobs

    def is_worked_off(self) -> bool:
        """Whether a process works it off."""
        return is_held(Path(self._work.lock_file))

    def is_begun(self) -> bool:
        """Whether a process works it off, or was begun to."""
        return self.is_worked_off() or is_begun(self.log)

    def have_worked_off(self) -> subprocess.Popen[bytes] | None:
        """Begin a process of its own that works it off and outlives this one; None if one does."""
        if self.is_worked_off():
            return None
        return begin([sys.executable, "-m", "dfkd_lab", "queue", "--root", str(self.root)], self.log)

    def take_work(self) -> bool:
        """Be the process that works it off; False if there is one."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._work.acquire(timeout=2)  # who only looks has the lock too, for a moment
        except Timeout:
            return False
        return True

    def leave_work(self) -> None:
        """Be it no longer."""
        self._work.release()


def _check_named(name: str, row: Row) -> None:
    if name not in row.runs:
        raise SpecError(unknown(name, row.runs, "run in the queue"))
