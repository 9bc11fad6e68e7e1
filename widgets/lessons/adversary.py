"""Lesson 21: the adversarial game. What the generator shows, and how much of the teacher it covers."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dfkd_lab import RunFolder
from widgets.figures import TEXT, by_round
from widgets.lessons import drawing
from widgets.lessons.explorer import Explorer
from widgets.series import Reports, Value, accuracy, column, signal

CLASSES = 10
PANELS: dict[str, tuple[Value, str, str]] = {
    "entropy": (signal("entropy"), "class entropy", "nats"),
    "agreement": (signal("agreement"), "agreement, on its images", "share of images"),
    "accuracy": (accuracy, "accuracy, on digits", "share of images"),
    "gap": (lambda report: report.terms.get("gap"), "gap that the generator found", "mean L1 of logits"),
}


def show(runs: Mapping[str, RunFolder]) -> None:
    """Sample grids of every arm, with a slider over the rounds."""
    reports = {arm: folder.reports() for arm, folder in runs.items()}
    samples = {arm: folder.samples() for arm, folder in runs.items()}
    rounds = sorted(set.intersection(*(set(each) for each in samples.values())))
    choices = [(str(each), each) for each in rounds]
    grids = lambda chosen: {arm: each[chosen] for arm, each in samples.items()}  # noqa: E731
    Explorer(lambda chosen: figure(reports, grids(chosen), chosen), "round", choices, rounds[0], ordered=True)


def figure(reports: Mapping[str, Reports], grids: Mapping[str, Path], round_: int) -> go.Figure:
    """The images of round ``round_``, beside each other, and below them four figures of every arm by round."""
    wide, narrow = 12 // len(grids), 12 // len(PANELS)
    above = [cell for _ in grids for cell in ({"colspan": wide}, *[None] * (wide - 1))]
    below = [cell for _ in PANELS for cell in ({"colspan": narrow}, *[None] * (narrow - 1))]
    drawn = make_subplots(
        rows=2, cols=12, specs=[above, below], row_heights=[0.62, 0.38], vertical_spacing=0.13,
        horizontal_spacing=0.022, subplot_titles=[*grids],
    )  # fmt: skip
    for number, path in enumerate(grids.values()):
        _add_grid(drawn, 1 + number * wide, path, "class the teacher sees" if number == 0 else "")
    for panel, (name, (value, title, unit)) in enumerate(PANELS.items()):
        place = {"row": 2, "col": 1 + panel * narrow}
        for number, (arm, rows) in enumerate(reports.items()):
            values = column(rows, value) * (-1 if name == "gap" else 1)
            rounds = [each.round for each in rows]
            curve = drawing.line(arm, rounds, values.tolist(), drawing.color_of(number), showlegend=panel == 0)
            drawn.add_trace(curve, **place)
        drawn.update_yaxes(title_text=unit, title_standoff=4, rangemode="tozero", nticks=5, **place)
        domain = drawing.domain(panel, len(PANELS))
        drawn.update_xaxes(**by_round(min(rounds), max(rounds), most=5), domain=domain, **place)
        drawing.add_title(drawn, title, **place)
        drawn.add_vline(round_, line={"color": TEXT, "width": 1, "dash": "dot"}, **place)
    rounds = [each.round for rows in reports.values() for each in rows]
    most = drawing.line(
        "all classes equally", [min(rounds), max(rounds)], [math.log(CLASSES)] * 2, TEXT, mode="lines", line_dash="dash"
    )
    drawn.add_trace(most, row=2, col=1)
    return drawing.finished(drawn, 700)


def _add_grid(drawn: go.Figure, col: int, path: Path, title: str) -> None:
    source = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    drawn.add_trace(go.Image(source=source, hoverinfo="skip"), row=1, col=col)
    images = drawing.tiles(path, CLASSES)
    pitch = images.shape[-1] + 1
    middles = [row * pitch + (pitch - 2) / 2 for row in range(CLASSES)]
    bare = {"showgrid": False, "constrain": "domain"}
    drawn.update_xaxes(tickvals=[], **bare, row=1, col=col)
    drawn.update_yaxes(tickvals=middles, ticktext=[str(each) for each in range(CLASSES)], title_text=title, **bare,
                       row=1, col=col)  # fmt: skip
