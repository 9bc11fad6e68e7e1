"""The table of runs: which is watched, which are compared, and what a person does with them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from dfkd_lab.errors import RunError
from dfkd_lab.runs import RunFolder, keeping, list_runs
from dfkd_lab.runs.folder import BIN
from widgets import status, visitor
from widgets.run_rows import RunRows, is_own

LISTED_EVERY_S = 1.5
"""How often the folders are read again, for those that other processes begin."""
MOST_PRESELECTED = 2
HERE = Path(__file__).parent
COLORS = f".dfkd-run-table {{ --dfkd-warning: {status.WARNING}; --dfkd-wrong: {status.WRONG}; }}\n"


class RunTable(anywidget.AnyWidget):
    """Every run below ``root``, newest first.

    A run is named as below ``root``. The page sends what a person does as a message, and only runs that were listed are
    touched; what is refused is a sentence beside the table. A run's figures are those that its folder keeps.

    Args:
        root: Holds the run folders.
        watch: Given the run that a person wants to see, or None for no run.
        refuse: Given a run before it is moved; raises RunError if it must stay.
    """

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in ("table.js", "run_table.js"))
    _css = COLORS + (HERE / "run_table.css").read_text(encoding="utf-8")
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    watched = traitlets.Unicode().tag(sync=True)
    marked = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Those to be compared; the newest finished ones of one metric until a person chooses others."""
    hidden = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Columns that are not shown."""
    wanted = traitlets.Unicode().tag(sync=True)
    """What a person looks for: runs with all of these words."""
    sort = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """The column by which runs are sorted, and "ascending" or "descending"; empty for the newest first."""
    address = traitlets.Unicode().tag(sync=True)
    """The end of the address that leads back to these runs, on a served page; a page that is loaded again has it."""
    binned = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """What is in the bin, the newest first."""
    said = traitlets.Unicode().tag(sync=True)
    alert = traitlets.Bool().tag(sync=True)
    """Whether what is said is a refusal."""
    deleted = traitlets.Unicode().tag(sync=True)
    """What an undo brings back; empty for nothing."""

    def __init__(
        self,
        root: Path,
        watch: Callable[[RunFolder | None], object],
        refuse: Callable[[RunFolder], object] = lambda folder: None,
    ):
        super().__init__(address=visitor.way_back())
        self.root, self._watch, self._refuse = root, watch, refuse
        self._rows, self._lock = RunRows(root), threading.Lock()
        self._looked = 0.0
        self._marking, self._by_hand = 0, False
        self._binned: list[tuple[RunFolder, str, bool]] = []
        """What was deleted here, how it was called, and whether it was watched."""
        self.observe(self._note_hand, "marked")
        self.on_msg(self._hear)

    @property
    def folders(self) -> Mapping[str, RunFolder]:
        """The runs by name, newest first, as of the last look."""
        return self._rows.folders

    def show(self, folder: RunFolder | None) -> None:
        """Mark ``folder`` as the one that is watched, and look again at all."""
        self.watched = self._name_of(folder) if folder else ""
        self.refresh(at_once=True)

    def refresh(self, at_once: bool = False) -> None:
        """Look at the folders, at most every 1.5 s unless ``at_once``, and send the rows if one changed."""
        if not at_once and time.monotonic() - self._looked < LISTED_EVERY_S:
            return
        with self._lock:
            self._looked = time.monotonic()
            rows = self._rows.read()
            if rows != self.rows:
                self.rows = rows
            if (binned := [_name(each, self.root / BIN) for each in list_runs(self.root / BIN)]) != self.binned:
                self.binned = binned
            kept = [each for each in self.marked if each in self.folders]
            self._mark(kept if self._by_hand else _preselected(rows))

    def watch(self, name: str) -> None:
        """Show a run in the panel.

        Raises:
            RunError: if there is none of that name.
        """
        self._watch(self._named(name))

    def change(self, name: str, to: str, note: str = "", tags: Sequence[str] = ()) -> None:
        """Call a run ``to``, unless that is its name, and put note and tags on it; all of it or nothing.

        Raises:
            SpecError, RunError: as ``runs.keeping`` does, or if the run must stay.
        """
        folder = self._named(name)
        keeping.checked_label(note, tags)
        if to.strip() != folder.name:
            self._refuse(folder)
            folder = keeping.rename(folder, to.strip())
        keeping.write_label(folder, note, tags)
        now = self._name_of(folder)
        self._mark([now if each == name else each for each in self.marked])
        if now != name and self.watched == name:
            self._watch(folder)
        self.refresh(at_once=True)
        self._say(f"{name} is now {now}." if now != name else f"The note and the tags of {name} are kept.")
        self.send({"done": name, "now": now})

    def delete(self, name: str) -> None:
        """Move a run into the bin; :meth:`undo` brings it back.

        Raises:
            SpecError, RunError: as ``runs.keeping`` does, or if the run must stay.
        """
        folder, was_watched = self._named(name), self.watched == name
        self._refuse(folder)
        self._binned.append((keeping.delete(folder, self.root), name, was_watched))
        if was_watched:
            self._watch(None)
        self._tell_bin(f"{name} is in the bin.", name, "")

    def undo(self) -> None:
        """Bring back what was deleted last, and watch it if it was watched.

        What is refused is left to the bin's own list, so that it does not stand before what was deleted earlier.

        Raises:
            SpecError, RunError: as ``runs.keeping`` does.
        """
        if not self._binned:
            raise RunError("nothing was deleted here")
        binned, name, was_watched = self._binned.pop()
        self.deleted = self._binned[-1][1] if self._binned else ""
        if not binned.exists():
            raise RunError(f"{name} is not in the bin any more")
        folder = keeping.restore(binned, self.root, name)
        now = self._name_of(folder)
        if was_watched and not self.watched:
            self._watch(folder)
        self._tell_bin(f"{name} is back{'' if now == name else f' as {now}'}.", "", now)

    def restore(self, name: str) -> None:
        """Bring back what is called ``name`` in the bin.

        Raises:
            SpecError, RunError: as ``runs.keeping`` does, or if nothing there is.
        """
        visitor.check_inside(name, self.root)
        if name not in self.binned:
            raise RunError(f"there is no run {name!r} in the bin any more")
        binned = self.root / BIN / name
        now = self._name_of(keeping.restore(RunFolder(binned), self.root))
        self._binned = [each for each in self._binned if each[0].path != binned]
        self._tell_bin(f"{name} is back{'' if now == name else f' as {now}'}.", "", now)

    def empty(self, names: Sequence[str]) -> None:
        """Erase the runs in the bin for good, if they are still those that a person saw there.

        Raises:
            RunError: as ``runs.keeping`` does, or if they are not.
        """
        self.refresh(at_once=True)
        if sorted(names) != sorted(self.binned):
            raise RunError("the bin holds other runs by now; look again")
        count = keeping.empty_bin(self.root, [RunFolder(self.root / BIN / each) for each in names])
        self._binned = [each for each in self._binned if each[0].exists()]
        left = f" What is no run is still in {self.root / BIN}." if (self.root / BIN).exists() else ""
        self._tell_bin(f"{count} run{'s are' if count > 1 else ' is'} erased for good.{left}", "", "")

    def _tell_bin(self, text: str, gone: str, now: str) -> None:
        self.deleted = self._binned[-1][1] if self._binned else ""
        self.refresh(at_once=True)
        self._say(text)
        self.send({"done": gone, "now": now})

    def _mark(self, names: list[str]) -> None:
        self._marking = threading.get_ident()
        if names != self.marked:
            self.marked = names
        self._marking = 0

    def _note_hand(self, change: object) -> None:
        self._by_hand = self._by_hand or self._marking != threading.get_ident()

    def _hear(self, widget: RunTable, message: Any, buffers: Any) -> None:
        """What a person did in the page."""
        given = {name: each for name, each in message.items() if name != "do"}
        actions: dict[str, Callable[..., None]] = {
            "watch": self.watch,
            "change": lambda tags, **more: self.change(tags=tags.split(","), **more),
            "delete": self.delete,
            "undo": self.undo,
            "restore": self.restore,
            "empty": self.empty,
        }
        with status.refused(self._say):
            actions[message["do"]](**given)

    def _say(self, text: str, *, alert: bool = False) -> None:
        self.alert, self.said = alert, text  # not held together: another thread may send rows meanwhile

    def _named(self, name: str) -> RunFolder:
        visitor.check_inside(name, self.root)
        if name not in self.folders:
            raise RunError(f"there is no run {name!r} in {self.root} any more")
        return self.folders[name]

    def _name_of(self, folder: RunFolder) -> str:
        return _name(folder, self.root)


def _preselected(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The newest run that finished, and the next of its metric: accuracy and mIoU say nothing of each other."""
    finished = [row for row in rows if row["state"] == "finished" and is_own(row["name"])]
    return [row["name"] for row in finished if row["metric"] == finished[0]["metric"]][:MOST_PRESELECTED]


def _name(folder: RunFolder, root: Path) -> str:
    """As below ``root``, which may be a link."""
    return Path(os.path.relpath(folder.path.resolve(), root.resolve())).as_posix()
