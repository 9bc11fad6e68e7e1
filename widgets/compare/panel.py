"""Compare runs: choose run folders, and see their curves, results, differing settings and costs beside each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import plotly.graph_objects as go
import yaml
from IPython.display import HTML, display

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import list_runs
from dfkd_lab.spec import unknown
from widgets import figures, form, status, visitor, wording
from widgets.chart import Chart
from widgets.compare.class_panels import by_class
from widgets.compare.figures import COSTS, STYLE, cost_against_accuracy, overlay, results, sentences, settings
from widgets.compare.groups import Group, Run, grouped, to_csv
from widgets.run_rows import is_own

NONE_HERE = "No run folder in {} yet. Start a run in the workbench, or with: python -m dfkd_lab demo"
NONE_FINISHED = "No run in {} is finished yet; name others to compare them as they stand."
NONE_CHOSEN = "Choose runs above."
SEVERAL = "Ctrl (on a Mac ⌘) and a click takes one more or one less, Shift and a click all between."
FEWEST_ROWS, MOST_ROWS = 3, 10


class Compare:
    """Runs beside each other; live it has a list to choose from, headless it is still figures and tables.

    ``root`` holds the run folders. ``names`` are those to begin with: a text with commas between, of which empty takes
    all finished, or a list, of which those are taken that can be read.

    Raises:
        SpecError: if a name is none of the run folders.
    """

    def __init__(self, root: Path | str | None = None, live: bool | None = None, names: str | Sequence[str] = ""):
        self.root = Path(root) if root else visitor.own_root()
        self.runs: dict[str, Run] = {}
        self.unreadable: list[str] = []
        self.chosen: list[str] = []
        self._read()
        self.watched = status.is_live(live)
        if self.watched:
            self._make_widgets()
        if isinstance(names, str):
            self.choose([name.strip() for name in names.split(",") if name.strip()] or self._finished())
        else:
            self.choose([name for name in names if name in self.runs])

    @property
    def groups(self) -> list[Group]:
        """The chosen runs, those with the same settings but the seed together."""
        return grouped(self.runs[name] for name in self.chosen)

    # A mimebundle could hold one figure; this displays several outputs.
    def _ipython_display_(self) -> None:
        if self.watched:
            display(self.widget)
            return
        for part in self._still():
            if isinstance(part, go.Figure):
                figures.show(part)
            else:
                display(part)

    def refresh(self, names: Sequence[str] | None = None) -> None:
        """Read all run folders again, and compare those of ``names`` that can be read.

        Without names what is chosen stays so, and if nothing is, all that are finished are.
        """
        self._read()
        wanted = [name for name in (self.chosen if names is None else names) if name in self.runs]
        self.choose(wanted or self._finished() if names is None else wanted)

    def choose(self, names: Sequence[str]) -> None:
        """Compare the runs called ``names``.

        Raises:
            SpecError: if one is none of the run folders.
        """
        for name in names:
            if name not in self.runs:
                raise SpecError(f"names: {unknown(name, self.runs, f'run in {self.root}')}")
        self.chosen = list(names)
        if self.watched:
            self._list()

    def save(self) -> Path:
        """Write the table beside the run folders, under a name that no earlier one has."""
        return to_csv(self.groups, self.root / f"compare-{time.strftime('%Y%m%d-%H%M%S')}.csv")

    def close(self) -> None:
        """Leave the screen."""
        if self.watched:
            form.close(self.widget)

    def _read(self) -> None:
        self.runs, self.unreadable = {}, []
        for folder in list_runs(self.root):
            try:
                self.runs[folder.path.relative_to(self.root).as_posix()] = Run.read(folder)
            except (RunError, OSError, LookupError, ValueError, TypeError, yaml.YAMLError) as error:
                self.unreadable.append(f"{folder.name} cannot be read: {error}")

    def _finished(self) -> list[str]:
        """Those of lessons are compared where they are asked for."""
        return [name for name, run in self.runs.items() if is_own(name) and run.result["state"] == "finished"]

    def _still(self) -> Iterator[Any]:
        groups = self.groups
        if not groups:
            empty = NONE_FINISHED if self.runs else NONE_HERE
            yield HTML(sentences([empty.format(self.root), *self.unreadable]))
            return
        yield overlay(groups)
        yield HTML(f"{STYLE}{sentences(self._left_out())}{results(groups)}{settings(groups)}")
        if any(each.iou for each in groups):
            yield by_class(groups)
        yield cost_against_accuracy(groups, "images")

    def _left_out(self) -> list[str]:
        early = [name for name in self.chosen if not self.runs[name].reports]
        return [*(f"{name} has no finished round yet." for name in early), *self.unreadable]

    def _make_widgets(self) -> None:
        self.list = ipywidgets.SelectMultiple(
            rows=FEWEST_ROWS,
            description="runs",
            tooltip=SEVERAL,
            layout=ipywidgets.Layout(width="auto", min_width="0"),
            style={"description_width": "48px"},
        )
        self.list.add_class("dfkd-runs")
        self.by = ipywidgets.Dropdown(
            options=[(title, name) for name, title in COSTS.items()],
            description="accuracy against",
            tooltip="What the accuracy of the last round is drawn against",
            layout=ipywidgets.Layout(width="440px", max_width="100%"),
            style={"description_width": "initial"},
        )
        self.message, self.tables = ipywidgets.HTML(), ipywidgets.HTML()
        self.curves, self.classes, self.costs = map(Chart, (overlay([]), by_class([]), cost_against_accuracy([])))
        self.buttons = {
            "Refresh": self._button("Refresh", "Read the run folders again", self.refresh),
            "All finished": self._button("All finished", "Choose every finished run", self._choose_finished),
            "Save as CSV": self._button("Save as CSV", "Write the table of results into the runs folder", self._save),
        }
        beside = [*self.buttons.values(), ipywidgets.HTML(sentences([SEVERAL]))]
        row = ipywidgets.Box(beside, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        charts = [self.curves, self.tables, self.classes, self.by, self.costs]
        parts = [ipywidgets.HTML(STYLE), self.list, row, self.message, *charts]
        self.widget = ipywidgets.VBox(parts, layout=ipywidgets.Layout(width="100%"))
        self._listing = False
        self.list.observe(lambda change: self._picked(), "value")
        self.by.observe(lambda change: self._draw_costs(), "value")

    def _button(self, name: str, tooltip: str, action: Callable[[], object]) -> ipywidgets.Button:
        button = form.button(name, tooltip)
        button.on_click(lambda button: action())
        return button

    def _choose_finished(self) -> None:
        """Also those that have finished since the folders were read."""
        self._read()
        self.choose(self._finished())

    def _save(self) -> None:
        try:
            self._say([f"Saved as {self.save()}"])
        except OSError as error:
            self._say([f"Cannot save: {error}"])

    def _picked(self) -> None:
        if not self._listing:
            self.chosen = list(self.list.value)
            self._draw()

    def _list(self) -> None:
        """Show which runs there are, and which of them are chosen."""
        self._listing = True  # the list drops its value when its options change, which nobody picked
        self.list.options = _options(self.runs)
        self.list.rows = min(max(FEWEST_ROWS, len(self.runs)), MOST_ROWS)
        self.list.value = tuple(self.chosen)
        self._listing = False
        self._draw()

    def _draw(self) -> None:
        groups = self.groups
        empty = [] if groups else [NONE_CHOSEN if self.runs else NONE_HERE.format(self.root)]
        self._say([*empty, *self._left_out()])
        self.buttons["Save as CSV"].disabled = not groups
        for each in (self.curves, self.costs, self.by):
            each.layout.display = "" if groups else "none"
        self.tables.value = results(groups) + settings(groups) if groups else ""
        self.curves.show(overlay(groups))
        self.classes.layout.display = "" if any(each.iou for each in groups) else "none"
        self.classes.show(by_class(groups))
        self._draw_costs()

    def _draw_costs(self) -> None:
        self.costs.show(cost_against_accuracy(self.groups, self.by.value))

    def _say(self, texts: Sequence[str]) -> None:
        self.message.value = f"<div role='status'>{sentences(texts)}</div>" if texts else ""


def _options(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """A line a run, in columns, the result first, as a name may be long; a list collapses spaces that may break."""
    cells = [
        (_last(run), run.result["state"], name, run.settings["method"],
         f"teacher {wording.without_folders(run.teacher)}", f"seed {run.seed}")
        for name, run in runs.items()
    ]  # fmt: skip
    widths = [max(map(len, each)) for each in zip(*cells, strict=True)]
    lines = ("  ".join(f"{text:{width}}" for text, width in zip(each, widths, strict=True)) for each in cells)
    return [(line.rstrip().replace(" ", "\u00a0"), name) for line, name in zip(lines, runs, strict=True)]


def _last(run: Run) -> str:
    last, agreement = run.result.get("last"), run.result["agreement"]
    note = " (real images)" if run.remark else ""
    if last is not None:
        return f"{run.metric} {last:.3f}{note}"
    return "no round yet" if agreement is None else f"agreement {agreement:.3f}{note}"
