"""Lesson 25: every pixel a class. What pixel accuracy does not show, on the adversarial game alone and mended."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from dfkd_lab import RunFolder
from dfkd_lab.engine.report import Report
from dfkd_lab.runs import maps
from widgets.class_figures import class_axis
from widgets.figures import TEXT
from widgets.lessons import drawing
from widgets.lessons.explorer import Explorer
from widgets.series import Reports, Value, accuracy, column

ROWS = 3
"""Images whose maps are shown."""
BESIDE = 0.24
"""From the mark of one arm to that of the next, where a class is 1 wide."""
PANELS: dict[str, tuple[Value, str]] = {
    "pixel accuracy": (lambda report: report.details.get("pixel_accuracy"), "share of pixels"),
    "mean IoU": (accuracy, "mIoU"),
    "the student's largest class": (lambda report: max(report.shares["student"]), "share of synthetic pixels"),
}
MOMENTS = {"a quarter": 0.25, "half": 0.5, "three quarters": 0.75, "all": 1.0}
"""Of the student's steps."""


def show(runs: Mapping[str, RunFolder]) -> None:
    """Maps of every arm, and below them its figures, with a slider over the student's steps."""
    reports = {arm: folder.reports() for arm, folder in runs.items()}
    samples = {arm: folder.samples() for arm, folder in runs.items()}
    names = next(iter(runs.values())).manifest()["teacher"]["class_names"]

    def draw(share: float) -> go.Figure:
        now = {arm: at(rows, share) for arm, rows in reports.items()}
        grids = {arm: _nearest(samples[arm], report.round) for arm, report in now.items()}
        return figure(reports, now, grids, names)

    Explorer(draw, "of the student's steps", [*MOMENTS.items()], 1.0, ordered=True)


def at(reports: Reports, share: float) -> Report:
    """The first report by which the student had ``share`` of the steps that it has at the end."""
    end = share * reports[-1].cost.s_steps
    return next(report for report in reports if report.cost.s_steps >= end)


def figure(
    reports: Mapping[str, Reports], now: Mapping[str, Report], grids: Mapping[str, Path], names: Sequence[str]
) -> go.Figure:
    """Maps of every arm beside each other; below, three figures by the student's steps, and IoU by class.

    Args:
        reports: Of every arm.
        now: The report of every arm that maps and classes are of.
        grids: The sample grid of that round.
        names: Of the classes.
    """
    wide, narrow = 12 // len(grids), 12 // (len(PANELS) + 1)
    above = [cell for _ in grids for cell in ({"colspan": wide}, *[None] * (wide - 1))]
    below = [cell for _ in range(len(PANELS) + 1) for cell in ({"colspan": narrow}, *[None] * (narrow - 1))]
    drawn = make_subplots(
        rows=2, cols=12, specs=[above, below], row_heights=[0.56, 0.44], vertical_spacing=0.14,
        horizontal_spacing=0.03, subplot_titles=[*grids],
    )  # fmt: skip
    for number, path in enumerate(grids.values()):
        _add_maps(drawn, 1 + number * wide, path)
    for panel, (title, (value, unit)) in enumerate(PANELS.items()):
        place = {"row": 2, "col": 1 + panel * narrow}
        for number, (arm, rows) in enumerate(reports.items()):
            steps = [report.cost.s_steps for report in rows if report.cost.s_steps]
            values = column([report for report in rows if report.cost.s_steps], value).tolist()
            curve = drawing.line(arm, steps, values, drawing.color_of(number), showlegend=panel == 0, mode="lines")
            drawn.add_trace(curve, **place)
            drawn.add_vline(now[arm].cost.s_steps, line={"color": TEXT, "width": 1, "dash": "dot"}, **place)
        drawn.update_xaxes(
            title_text="student steps", tickformat="d", nticks=4, domain=drawing.domain(panel, len(PANELS) + 1), **place
        )
        drawn.update_yaxes(title_text=unit, title_standoff=4, range=[0, 1.03], nticks=5, **place)
        drawing.add_title(drawn, title, **place)
    _add_classes(drawn, {"row": 2, "col": 1 + len(PANELS) * narrow}, now, names)
    _add_colors(drawn, names)
    key = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 0.47, "yanchor": "top"}
    return drawing.finished(drawn, 740).update_layout(legend_y=-0.16, legend2={**key, "bgcolor": "rgba(0, 0, 0, 0)"})


def _add_colors(drawn: go.Figure, names: Sequence[str]) -> None:
    """Which color of the maps is which class: entries of a legend of their own, without a point."""
    for name, color in zip(names, maps.colors(len(names)), strict=True):
        look = {"symbol": "square", "size": 12, "color": f"rgb{color}", "line": {"color": TEXT, "width": 1}}
        entry = go.Scatter(x=[None], y=[None], mode="markers", name=name, marker=look, legend="legend2")
        drawn.add_trace(entry.update(hoverinfo="skip"), row=2, col=1)


def _add_classes(drawn: go.Figure, place: dict[str, int], now: Mapping[str, Report], names: Sequence[str]) -> None:
    """The intersection over union of every class: a mark an arm, beside each other."""
    for number, (arm, report) in enumerate(now.items()):
        iou = report.details.get("iou", [])
        x = [class_ + BESIDE * (number - (len(now) - 1) / 2) for class_ in range(len(iou))]
        marks = drawing.line(
            arm, x, iou, drawing.color_of(number), mode="markers", showlegend=False, marker={"size": 7}
        )
        drawn.add_trace(marks, **place)
    drawn.update_xaxes(**class_axis(names), domain=drawing.domain(len(PANELS), len(PANELS) + 1), **place)
    drawn.update_yaxes(title_text="IoU", title_standoff=4, range=[-0.03, 1.03], nticks=5, **place)
    drawing.add_title(drawn, "IoU by class", **place)


def _add_maps(drawn: go.Figure, col: int, path: Path) -> None:
    """The first rows of a sample grid: image, teacher's map, student's map."""
    with Image.open(path) as grid:
        height = (grid.height + maps.GAP) // _images(grid)
        shown = grid.crop((0, 0, grid.width, min(grid.height, ROWS * height - maps.GAP)))
    png = io.BytesIO()
    shown.save(png, "png")
    source = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    drawn.add_trace(go.Image(source=source, hoverinfo="skip"), row=1, col=col)
    middles = [shown.width * (1 + 2 * number) / 6 for number in range(3)]
    bare = {"showgrid": False, "constrain": "domain"}
    drawn.update_xaxes(tickvals=middles, ticktext=["image", "teacher", "student"], **bare, row=1, col=col)
    drawn.update_yaxes(tickvals=[], **bare, row=1, col=col)


def _images(grid: Image.Image) -> int:
    """Rows of a grid of square images in three columns."""
    side = (grid.width + maps.GAP) // 3
    return max(1, (grid.height + maps.GAP) // side)


def _nearest(samples: Mapping[int, Path], round_: int) -> Path:
    return samples[min(samples, key=lambda each: abs(each - round_))]
