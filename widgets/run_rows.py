"""What a table of runs says of each, from what its folder keeps for lists; read again when that was changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import RunFolder, contents, list_runs
from dfkd_lab.runs.folder import LESSONS
from dfkd_lab.runs.standing import AT_WORK
from widgets import wording

AT_WORK_EVERY_S = 15.0
"""How often the figures of a run that is at work change in the table; a change of state shows at once."""
FILES = ("status.json", "label.json", "manifest.json")
UNKNOWN: dict[str, Any] = {
    **{"method": "", "pair": "", "networks": "", "last": None, "mu": None},
    **{"metric": "", "why": "", "note": "", "tags": []},
}
AT_ONCE = ("state", "note", "tags")


def is_own(name: str) -> bool:
    """Whether the run that is called ``name``, as below the folder of all runs, belongs to no lesson."""
    return not name.startswith(f"{LESSONS}/")


@dataclass(frozen=True)
class Known:
    """A row, and how the files that it is from looked then."""

    stamp: tuple[tuple[int, int] | None, ...]
    row: dict[str, Any]


class RunRows:
    """A row a run folder below ``root``, newest first."""

    def __init__(self, root: Path):
        self.root = root
        self.folders: dict[str, RunFolder] = {}
        """By name, as they were found at the last look."""
        self._known: dict[str, Known] = {}
        self._worked = 0.0

    def read(self) -> list[dict[str, Any]]:
        """The rows now, as JSON has them."""
        folders = {each.path.relative_to(self.root).as_posix(): each for each in list_runs(self.root)}
        due = time.monotonic() - self._worked >= AT_WORK_EVERY_S
        self._worked = time.monotonic() if due else self._worked
        self._known = {name: self._look(name, folder, due) for name, folder in folders.items()}
        self.folders = folders
        return [each.row for each in self._known.values()]

    def _look(self, name: str, folder: RunFolder, due: bool) -> Known:
        stamp, before = tuple(_stamp(folder.path / file) for file in FILES), self._known.get(name)
        # the process of a run at work may be gone, and its files as they were
        if before and before.stamp == stamp and before.row["state"] not in AT_WORK:
            return before
        row = row_of(name, folder)
        kept = before and row["state"] in AT_WORK and not due and all(row[each] == before.row[each] for each in AT_ONCE)
        return before if before and kept else Known(stamp, row)


def row_of(name: str, folder: RunFolder) -> dict[str, Any]:
    """What the table says of one run; "damaged", and ``why``, if a file of it cannot be read."""
    row = {"name": name, **UNKNOWN}
    try:
        status = folder.status()
        row["state"] = status["state"]
        row["why"] = "" if status["state"] in AT_WORK else status.get("message", "")
        row |= {each: status.get("result", {}).get(each) for each in ("last", "mu")}
        row["metric"] = status.get("result", {}).get("metric", "accuracy")
        row |= {"note": "", "tags": [], **contents.label(folder.path)}
        row |= _networks(folder)
    except (RunError, SpecError) as error:
        row |= {"state": "damaged", "why": str(error)}
    return row


def _networks(folder: RunFolder) -> dict[str, str]:
    """Method, and teacher → student without and with folders: from the record, which is read sooner than the spec."""
    manifest = folder.manifest()
    parts = (("method", "name"), ("teacher", "name"), ("student", "net"))
    method, teacher, student = (manifest.get(part, {}).get(name, "") for part, name in parts)
    if not (method and teacher and student):
        spec = folder.spec()
        method, teacher, student = spec.method, spec.teacher, spec.student
    return {"method": method, "pair": wording.pair(teacher, student), "networks": f"{teacher} → {student}"}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
