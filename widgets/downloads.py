"""Links to what a run produced: the student, its export, the report and the numbers of every round."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.export.destination import CARD, CONFIG, latest, proven
from dfkd_lab.export.student import PARITY
from dfkd_lab.runs import RunFolder
from dfkd_lab.system.text import csv_table
from widgets import report

STUDENT, EXPORT = "student.safetensors", "export.zip"
IS_THERE: dict[str, Callable[[RunFolder], bool]] = {
    STUDENT: lambda folder: (folder.path / STUDENT).is_file(),
    EXPORT: lambda folder: latest(folder.path) is not None,
}
"""Whether a file can be offered yet; those that are not named always can."""

DESCRIBING = (CONFIG, PARITY, CARD)


def rounds_csv(folder: RunFolder) -> bytes:
    """A line a round: every number of its report, those of a dictionary as ``terms.kd``; empty where there is none."""
    rows = [_flat(each.event()) for each in folder.reports()]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_table(rows, columns).encode()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    """The numbers of nested dictionaries under names with dots; a text or a list is none."""
    found: dict[str, float | None] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, int | float):
            found[prefix + name] = value
    return found


def export_zip(folder: RunFolder) -> bytes:
    """The files of the run's export, below a folder of the run's name; what was not proven stays here."""
    content, root = io.BytesIO(), latest(folder.path)
    if root is None:
        raise RunError(f"{folder.path} has no export any more")
    try:
        ours = {*DESCRIBING, *proven(root)}
    except DamagedFile:  # nothing is known to be proven; the damaged file is in it, for whoever wonders
        ours = {*DESCRIBING}
    name = f"{folder.name}{root.name.removeprefix('export')}"
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(each for each in root.rglob("*") if is_ours(each, root, ours)):
            archive.write(path, Path(name, path.relative_to(root)))
    return content.getvalue()


def is_ours(path: Path, root: Path, ours: Collection[str]) -> bool:
    """Whether it is a file below one of the names ``ours`` in ``root``, and not what a link leads to."""
    inside = path.relative_to(root).parts
    linked = any(Path(root, *inside[:depth]).is_symlink() for depth in range(1, len(inside) + 1))
    return path.is_file() and not linked and inside[0] in ours


FILES: dict[str, Callable[[RunFolder], bytes]] = {
    STUDENT: lambda folder: (folder.path / STUDENT).read_bytes(),
    EXPORT: export_zip,
    "report.html": lambda folder: report.page(folder).encode(),
    "rounds.csv": rounds_csv,
}
"""What can be downloaded, made when it is asked for."""


class Downloads(anywidget.AnyWidget):
    """A link for each file that the run has by now; the kernel sends it when the link is clicked."""

    _esm = Path(__file__).with_name("downloads.js")
    files = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self.folder: RunFolder | None = None
        self.on_msg(self._answer)

    def attach(self, folder: RunFolder | None) -> None:
        """Offer what ``folder`` has from now on."""
        self.folder = folder
        self.refresh()

    def refresh(self) -> None:
        """Look at what is there."""
        files: list[str] = []
        if self.folder and (self.folder.path / "events.jsonl").is_file():
            files = [name for name in FILES if name not in IS_THERE or IS_THERE[name](self.folder)]
        if files != self.files:
            self.files = files

    def _answer(self, widget: Downloads, message: Any, buffers: Any) -> None:
        if self.folder and message["name"] in self.files:
            try:
                content = FILES[message["name"]](self.folder)
            except (RunError, SpecError, OSError) as error:
                self.send({"id": message["id"], "refused": f"{message['name']} cannot be made: {error}"})
                return
            self.send({"id": message["id"], "name": f"{self.folder.name}-{message['name']}"}, [content])
