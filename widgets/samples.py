"""The synthetic images of a run: a grid by class, one of them enlarged, and a slider through the rounds."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab.errors import RunError
from dfkd_lab.runs import Examination, RunFolder
from dfkd_lab.system.files import stamp
from widgets import enlarged, sample_grid, sample_maps, status
from widgets.loss_history import LossHistory
from widgets.pressable import Node, Pressable


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
            self.folder = folder
            self._files: dict[int, Path] = {}
            self._shown, self._drawn_at, self._writing, self._opened = -1, 0.0, False, -1
            self._stands: tuple[object, ...] = ()
            self._eased = False
            self._write(self.latest, True)

    def refresh(self, period: float) -> None:
        """Look for new rounds; show one at most every ``period`` seconds."""
        with self._lock:
            files = self.folder.samples() if self.folder else {}
            waiting = bool(self._shown > 0 and files and time.monotonic() - self._drawn_at < period)
            replaced = self._shown in files and _stands(files[self._shown]) != self._stands
            if waiting or (files.keys() == self._files.keys() and self._shown >= 0 and not replaced):
                return
            self._files = files
            if replaced or self._shown not in files:  # the first of this run
                self._eased = sample_grid.eases_off(self.folder)
            rounds = list(files) or [0]
            chosen = rounds[-1] if self.latest.value or self.round.value not in files else self.round.value
            if self._opened >= 0 and self._shown in files and not replaced:  # a person looks at one of its images
                chosen = self._shown
            self._write_rounds(rounds, chosen)
            self._show(chosen, again=replaced)

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

    def _show(self, round: int, again: bool = False) -> None:
        if round == self._shown and not again:
            return
        self._shown, self._drawn_at = round, time.monotonic()
        self.widget.layout.display = "" if round else "none"
        if round:
            self._stands = _stands(self._files[round])
            self._opened = -1
            self._draw()

    def _draw(self, focus: int = -1) -> None:
        """The grid of the round, or one image of it."""
        if self._shown not in self._files:
            return
        try:
            png, facts = sample_grid.read(path := self._files[self._shown])
        except RunError as error:  # the chart and the headline are shown all the same
            self._opened = -1
            self.caption.value = status.sentence(str(error), alert=True)
            self.losses.show({})
            self.grid.show()
            return
        self.caption.value = (
            f"<div style='line-height: 1.3'>{sample_grid.caption(self._shown, facts, self._eased)}</div>"
        )
        count, names = sample_grid.images_in(facts), sample_grid.class_names(self.folder)
        if facts is not None and 0 <= self._opened < count:
            below: list[Node] = []
            if "legend" in facts:
                shown, below = sample_maps.enlarged(path, facts, self._opened), sample_maps.legend(facts)
            else:
                shown = sample_grid.of_cell(path, facts["cells"], self._opened, self.examination, names)
            self.grid.show(*enlarged.nodes(shown, self._opened, count), *below)
            self.losses.show(shown.losses)
            return
        self._opened = -1
        self.losses.show({})
        self.grid.show(*sample_grid.nodes(png, facts, names, pressable=True, focus=focus))


def _stands(path: Path) -> tuple[object, ...]:
    """What changes when a grid, or what is known of it, is replaced, as by another run that has its round too."""
    return stamp(path), stamp(path.with_suffix(".json"))
