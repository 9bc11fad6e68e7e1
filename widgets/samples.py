"""Synthetic images by class, each with the teacher's confidence; and the slider through the rounds that have some."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import Examination, RunFolder, contents
from dfkd_lab.runs import samples as grids
from widgets import buffer_browser, enlarged, sample_maps, thumbnails
from widgets.enlarged import Enlarged
from widgets.figures import COLORS
from widgets.loss_history import LossHistory
from widgets.pressable import Node, Pressable, markup
from widgets.status import AMBER, WARNING

SIDE_PX = 32
# One PNG for all cells, which each cell shows a place of; pixelated, because small images are blurred otherwise.
STYLE = f"""
table.dfkd-samples {{ border-collapse: collapse; line-height: 1; width: auto; }}
table.dfkd-samples th, table.dfkd-samples td {{ border: 0; padding: 1px 1px 2px; text-align: center; width: auto; }}
table.dfkd-samples th {{ font-weight: 600; padding-right: 6px; text-align: right; }}
table.dfkd-samples i {{ display: block; margin: auto; width: var(--wide); height: var(--high);
    background-image: var(--sprites); background-size: var(--size); image-rendering: pixelated; }}
table.dfkd-samples small {{ font-size: 11px; display: block; margin-top: 2px; white-space: nowrap; }}
table.dfkd-samples .other i {{ outline: 2px solid {AMBER}; outline-offset: -2px; }}
table.dfkd-samples .other small {{ color: {WARNING}; }}
img.dfkd-samples {{ image-rendering: pixelated; width: min(100%, 380px); }}
.dfkd-samples button {{ all: unset; display: block; cursor: pointer; }}
.dfkd-samples button:focus-visible {{ outline: 2px solid {COLORS[0]}; outline-offset: 1px; }}
"""
UNEXAMINED = (
    'What the student gives to each class is known once the run is examined (below the figure "classes"), of images '
    "that are in its memory then."
)


class Samples:
    """The images of one round of a run: of the latest, or of the one a person chose, until "latest" is pressed."""

    def __init__(self) -> None:
        self.grid, self.caption, self.losses = Pressable(self.press), ipywidgets.HTML(), LossHistory()
        self.examination: Examination | None = None
        """Where the student's probabilities are looked up."""
        self.round = ipywidgets.SelectionSlider(
            options=[0],
            description="round",
            continuous_update=False,
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(flex="1 1 140px", width="auto", min_width="0"),
        )
        self.latest = ipywidgets.ToggleButton(
            value=True,
            description="latest",
            tooltip="Show the newest round, and go on with the run",
            layout=ipywidgets.Layout(flex="0 0 auto", width="auto"),
        )
        row = ipywidgets.Box([self.round, self.latest], layout=ipywidgets.Layout(align_items="center"))
        self.widget = ipywidgets.VBox([row, self.caption, self.grid, self.losses.widget])
        self.round.observe(self._choose, "value")
        self.latest.observe(self._choose, "value")
        self._lock = threading.RLock()
        self.attach(None)

    def attach(self, folder: RunFolder | None) -> None:
        """Show the latest images of ``folder`` from the next refresh on."""
        with self._lock:
            self.folder, self._eased = folder, eases_off(folder)
            self._files: dict[int, Path] = {}
            self._shown, self._drawn_at, self._writing, self._opened = -1, 0.0, False, -1
            self._write(self.latest, True)

    def refresh(self, period: float) -> None:
        """Look for new rounds; show one at most every ``period`` seconds."""
        with self._lock:
            files = self.folder.samples() if self.folder else {}
            waiting = bool(self._shown > 0 and files and time.monotonic() - self._drawn_at < period)
            if waiting or (files.keys() == self._files.keys() and self._shown >= 0):
                return
            self._files = files
            rounds = list(files) or [0]
            chosen = rounds[-1] if self.latest.value or self.round.value not in files else self.round.value
            if self._opened >= 0 and self._shown in files:  # a person looks at one of its images
                chosen = self._shown
            self._write_rounds(rounds, chosen)
            self._show(chosen)

    def _choose(self, change: dict[str, Any]) -> None:
        """A person moved the slider, which leaves the latest round, or pressed the button, which returns to it."""
        with self._lock:
            if self._writing or not self._files:
                return
            if change["owner"] is self.round:
                self._write(self.latest, False)
            elif self.latest.value:
                self._write(self.round, max(self._files))
            self._show(self.round.value)

    def press(self, name: str) -> None:
        """An image by its place among those of the round, or a button beside the one that is enlarged."""
        with self._lock:
            steps, before = {"previous": -1, "next": 1}, self._opened
            if name in steps:
                self._opened += steps[name]
            elif name.isdecimal():
                self._opened = int(name)
            elif name == "back":
                self._opened = -1
                if self.latest.value and self._files and (newest := max(self._files)) != self._shown:
                    self._write(self.round, newest)
                    self._show(newest)
                    return
            self._draw(focus=before)

    def know(self, found: Examination | None) -> None:
        """Look up from now on in this examination what both networks say of an image."""
        if found is not self.examination:
            self.examination = found
            if self._opened >= 0:
                self._draw()

    def _write_rounds(self, rounds: list[int], chosen: int) -> None:
        self._writing = True  # new options choose the first of them
        with self.round.hold_sync():
            self.round.options, self.round.value = rounds, chosen
        self._writing = False

    def _write(self, widget: Any, value: Any) -> None:
        self._writing = True
        widget.value = value
        self._writing = False

    def _show(self, round: int) -> None:
        if round == self._shown:
            return
        self._shown, self._drawn_at = round, time.monotonic()
        self.widget.layout.display = "" if round else "none"
        if round:
            self._opened = -1
            self._draw()

    def _draw(self, focus: int = -1) -> None:
        """The grid of the round, or one image of it."""
        if self._shown not in self._files:
            return
        png, facts = read(path := self._files[self._shown])
        self.caption.value = f"<div style='line-height: 1.3'>{caption(self._shown, facts, self._eased)}</div>"
        count = images_in(facts)
        if facts is not None and 0 <= self._opened < count:
            below: list[Node] = []
            if "legend" in facts:
                shown, below = sample_maps.enlarged(path, facts, self._opened), sample_maps.legend(facts)
            else:
                shown = of_cell(path, facts["cells"], self._opened, self.examination)
            self.grid.show(*enlarged.nodes(shown, self._opened, count), *below)
            self.losses.show(shown.losses)
            return
        self._opened = -1
        self.losses.show({})
        self.grid.show(*nodes(png, facts, pressable=True, focus=focus))


def read(path: Path) -> tuple[bytes, dict[str, Any] | None]:
    """The PNG of a sample grid, and what is known of its cells: None in folders from before that was kept."""
    return path.read_bytes(), contents.sample(path.with_suffix(".json")) or None


def images_in(facts: Mapping[str, Any] | None) -> int:
    """How many images of a grid can be enlarged; those of old folders, of which nothing is known, cannot."""
    return 0 if facts is None else int(facts["images"]) if "legend" in facts else len(facts["cells"])


def eases_off(folder: RunFolder | None) -> bool:
    """Whether the run's target counts less where the teacher is sure of any class, as in SSD-KD by confidence."""
    try:
        settings = folder.spec().settings if folder else {}
    except (RunError, SpecError):
        return False
    return settings.get("modulate") == "confidence" and bool(settings.get("difficulty", True))


def caption(round: int, facts: Mapping[str, Any] | None, eased: bool = False) -> str:
    """What the grid of that round shows, in words; ``eased`` as :func:`eases_off` says."""
    if facts is not None and "legend" in facts:
        agreement = f"they agree on {facts['agreement']:.0%} of these pixels"
        return f"Round {round}: {sample_maps.WORDS}; {agreement}."
    text = f"Round {round}: a row for each class the teacher sees"
    if facts is None:
        return text + "."
    targets = [cell for cell in facts["cells"] if cell["asked"] is not None]
    other = sum(cell["asked"] != cell["predicted"] for cell in targets)
    text += ", below each image its confidence in %."
    if targets:
        mark = f"<span style='color: {WARNING}'>≠</span>"
        text += f" {mark} marks another class than the target: {other} of {len(targets)}."
    if eased and 3 * other > len(targets):
        text += " Where the teacher is sure of any class, SSD-KD eases off the target."
    return text


def html(png: bytes, facts: Mapping[str, Any] | None) -> str:
    """The grid for a page without a kernel."""
    return markup(*nodes(png, facts))


def nodes(png: bytes, facts: Mapping[str, Any] | None, *, pressable: bool = False, focus: int = -1) -> tuple[Node, ...]:
    """The grid; with ``facts``, each image with its confidence, and marked if it is not of its target class.

    Args:
        png: All images in one.
        facts: As its JSON has them.
        pressable: Whether each image can be pressed.
        focus: The image where the keyboard goes on, or -1.
    """
    source, style = thumbnails.uri(png), ["style", {}, STYLE]
    if facts is not None and "legend" in facts:
        return style, *sample_maps.nodes(source, facts, focus if pressable else None)
    if facts is None:
        return style, ["img", {"class": "dfkd-samples", "alt": "Images by class", "src": source}]
    width, height = int(facts["width"]), int(facts["height"])
    # A whole number where images are small: then no cell shows a line of its neighbour.
    scale = max(1, round(SIDE_PX / width)) if width <= SIDE_PX else SIDE_PX / width
    wide, high = (width + 1) * scale, (height + 1) * scale
    size = f"{int(facts['columns']) * wide - scale:g}px {int(facts['rows']) * high - scale:g}px"
    place = f"--sprites: url({source}); --wide: {width * scale:g}px; --high: {height * scale:g}px; --size: {size}"
    rows = _rows(facts, wide, high, focus if pressable else None)
    return style, ["table", {"class": "dfkd-samples", "aria-label": "Images by class", "style": place}, *rows]


def of_cell(path: Path, cells: Sequence[Mapping[str, Any]], place: int, found: Examination | None) -> Enlarged:
    """An image of a grid, with what its JSON knows; and if it is among those examined, with what was found of it."""
    cell = cells[place]
    try:
        image = grids.read(path)[place : place + 1]
    except (RunError, OSError, ValueError) as error:  # somebody wrote another grid than its JSON says
        return Enlarged(b"", "no image", {}, remark=f"The image cannot be read: {error}")
    known = found.images.places.get(image.numpy().tobytes()) if found and found.images else None
    if found is not None and known is not None:
        return buffer_browser.of_examined(found, known)
    facts = {"the teacher sees": f"class {cell['predicted']}"}
    if cell["confidence"] is not None:
        facts["the teacher sees"] += f" ({float(cell['confidence']):.3f})"
    facts["target class"] = "none" if cell["asked"] is None else str(cell["asked"])
    bars = [(f"class {cell['predicted']}", cell["confidence"], None)]
    return Enlarged(thumbnails.png(image), "; ".join(" ".join(each) for each in facts.items()), facts, bars, UNEXAMINED)


def _rows(facts: Mapping[str, Any], wide: float, high: float, focus: int | None) -> Iterator[Node]:
    places = [*enumerate(facts["cells"])]
    for row in range(int(facts["rows"])):
        cells = [_cell(cell, number, wide, high, focus) for number, cell in places if cell["row"] == row]
        yield ["tr", {}, ["th", {"scope": "row"}, str(row)], *(cells or [["td", {}, ["small", {}, "none"]]])]


def _cell(cell: Mapping[str, Any], number: int, wide: float, high: float, focus: int | None) -> Node:
    """An image; as a button, unless ``focus`` is None."""
    other = cell["asked"] is not None and cell["asked"] != cell["predicted"]
    sure = "" if cell["confidence"] is None else f"{float(cell['confidence']):.0%}"
    target = f"target class {int(cell['asked'])}, " if cell["asked"] is not None else ""
    title = f"{target}the teacher sees {int(cell['predicted'])}{' with confidence ' + sure if sure else ''}"
    words = sure.removesuffix("%") + (f"≠{int(cell['asked'])}" if other else "")
    left, top = -int(cell["column"]) * wide, -int(cell["row"]) * high
    inside: list[Node] = [["i", {"style": f"background-position: {left:g}px {top:g}px"}], ["small", {}, words]]
    if focus is not None:
        more = {"data-focus": "yes"} if number == focus else {}
        inside = [["button", {"type": "button", "data-press": str(number), "aria-label": title, **more}, *inside]]
    return ["td", {"title": title, **({"class": "other"} if other else {})}, *inside]
