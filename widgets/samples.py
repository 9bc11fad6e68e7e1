"""Synthetic images by class, each with the teacher's confidence; and the slider through the rounds that have some."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab.runs import RunFolder, contents, maps
from widgets.status import AMBER, WARNING

SIDE_PX, MAPS_PX = 32, 250
# One PNG for all cells, which each cell shows a place of; pixelated, because small images are blurred otherwise.
STYLE = f"""<style>
table.dfkd-samples {{ border-collapse: collapse; line-height: 1; width: auto; }}
table.dfkd-samples th, table.dfkd-samples td {{ border: 0; padding: 1px 1px 2px; text-align: center; width: auto; }}
table.dfkd-samples th {{ font-weight: 600; padding-right: 6px; text-align: right; }}
table.dfkd-samples i {{ display: block; margin: auto; width: var(--wide); height: var(--high);
    background-image: var(--sprites); background-size: var(--size); image-rendering: pixelated; }}
table.dfkd-samples small {{ font-size: 11px; display: block; margin-top: 2px; white-space: nowrap; }}
table.dfkd-samples .other i {{ outline: 2px solid {AMBER}; outline-offset: -2px; }}
table.dfkd-samples .other small {{ color: {WARNING}; }}
.dfkd-legend {{ line-height: 1.7; }} .dfkd-legend span {{ white-space: nowrap; margin-right: 10px; }}
.dfkd-legend i {{ display: inline-block; width: 11px; height: 11px; border: 1px solid #888; }}
img.dfkd-samples {{ image-rendering: pixelated; width: min(100%, 380px); }}
</style>"""


class Samples:
    """The images of one round of a run: of the latest, or of the one a person chose, until "latest" is pressed."""

    def __init__(self) -> None:
        self.grid, self.caption = ipywidgets.HTML(), ipywidgets.HTML()
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
        self.widget = ipywidgets.VBox([row, self.caption, self.grid])
        self.round.observe(self._choose, "value")
        self.latest.observe(self._choose, "value")
        self._lock = threading.RLock()
        self.attach(None)

    def attach(self, folder: RunFolder | None) -> None:
        """Show the latest images of ``folder`` from the next refresh on."""
        with self._lock:
            self.folder = folder
            self._files: dict[int, Path] = {}
            self._shown, self._drawn_at, self._writing = -1, 0.0, False
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
            png, facts = read(self._files[round])
            self.caption.value = f"<div style='line-height: 1.3'>{caption(round, facts)}</div>"
            self.grid.value = html(png, facts)


def read(path: Path) -> tuple[bytes, dict[str, Any] | None]:
    """The PNG of a sample grid, and what is known of its cells: None in folders from before that was kept."""
    return path.read_bytes(), contents.sample(path.with_suffix(".json")) or None


def caption(round: int, facts: Mapping[str, Any] | None) -> str:
    """What the grid of that round shows, in words."""
    if facts is not None and "legend" in facts:
        agreement = f"they agree on {facts['agreement']:.0%} of these pixels"
        return f"Round {round}: synthetic image, the teacher's map, the student's map; {agreement}."
    text = f"Round {round}: a row for each class the teacher sees"
    if facts is None:
        return text + "."
    targets = [cell for cell in facts["cells"] if cell["asked"] is not None]
    other = sum(cell["asked"] != cell["predicted"] for cell in targets)
    text += ", below each image its confidence in %."
    if targets:
        mark = f"<span style='color: {WARNING}'>≠</span>"
        text += f" {mark} marks another class than the target: {other} of {len(targets)}."
    if 3 * other > len(targets):
        text += (
            " The target is one loss among several, and where SSD-KD modulates by confidence it is eased off wherever "
            "the teacher is sure, of whichever class."
        )
    return text


def html(png: bytes, facts: Mapping[str, Any] | None) -> str:
    """The grid; with ``facts``, each image with its confidence, and marked if it is not of its target class."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    if facts is not None and "legend" in facts:
        return _maps(source, 3 * int(facts["width"]) + 2 * maps.GAP, facts["legend"])
    if facts is None:
        return f"{STYLE}<img class='dfkd-samples' alt='Images by class' src='{source}'>"
    width, height = int(facts["width"]), int(facts["height"])
    # A whole number where images are small: then no cell shows a line of its neighbour.
    scale = max(1, round(SIDE_PX / width)) if width <= SIDE_PX else SIDE_PX / width
    wide, high = (width + 1) * scale, (height + 1) * scale
    size = f"{int(facts['columns']) * wide - scale:g}px {int(facts['rows']) * high - scale:g}px"
    place = f"--sprites: url({source}); --wide: {width * scale:g}px; --high: {height * scale:g}px; --size: {size}"
    rows = "".join(_rows(facts, wide, high))
    return f"{STYLE}<table class='dfkd-samples' aria-label='Images by class' style='{place}'>{rows}</table>"


def _maps(source: str, width: int, legend: Sequence[Mapping[str, Any]]) -> str:
    """Image, teacher's map and student's map in three columns, ``width`` pixels wide, and which color is which class.

    They are enlarged a whole number of times, so that all eight are seen beside the chart.
    """
    shown = width * max(1, MAPS_PX // max(1, width))
    chips = "".join(
        f"<span><i style='background: rgb({', '.join(str(int(part)) for part in each['color'])})'></i> "
        f"{escape(each['name'])}</span>"
        for each in legend
    )
    style = f"image-rendering: pixelated; width: min(100%, {shown}px)"
    image = f"<img alt='Images, teacher and student' src='{source}' style='{style}'>"
    return f"{STYLE}<div style='max-width: 360px'>{image}<div class='dfkd-legend'>{chips}</div></div>"


def _rows(facts: Mapping[str, Any], wide: float, high: float) -> Iterator[str]:
    for row in range(int(facts["rows"])):
        cells = "".join(_cell(cell, wide, high) for cell in facts["cells"] if cell["row"] == row)
        yield f"<tr><th scope='row'>{row}</th>{cells or '<td><small>none</small></td>'}</tr>"


def _cell(cell: Mapping[str, Any], wide: float, high: float) -> str:
    other = cell["asked"] is not None and cell["asked"] != cell["predicted"]
    sure = "" if cell["confidence"] is None else f"{float(cell['confidence']):.0%}"
    target = f"target class {int(cell['asked'])}, " if cell["asked"] is not None else ""
    title = f"{target}the teacher sees {int(cell['predicted'])}{' with confidence ' + sure if sure else ''}"
    words = sure.removesuffix("%") + (f"≠{int(cell['asked'])}" if other else "")
    left, top = -int(cell["column"]) * wide, -int(cell["row"]) * high
    image = f"<i style='background-position: {left:g}px {top:g}px'></i>"
    return f"<td title='{title}'{' class=other' if other else ''}>{image}<small>{words}</small></td>"
