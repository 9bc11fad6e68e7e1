"""Figures of a run: its reports in, a plotly figure out. Nothing here reads a file or knows a widget.

Text and grid are mid-grey on a transparent ground, which reads on light and on dark pages.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
from IPython.display import display
from plotly.subplots import make_subplots

from dfkd_lab.engine.report import Report
from widgets import pictures, series
from widgets.series import (
    MEAN_OVER_ROUNDS,
    Reports,
    Value,
    accuracy,
    agreement,
    column,
    mean_over_rounds,
    signal,
    spent,
    thin,
)

# "Share chart..." would upload the chart to a cloud service.
CONFIG = {"showSendToCloud": False, "displaylogo": False, "responsive": True}
TEXT, GRID = "#7f7f7f", "rgba(128, 128, 128, 0.25)"
COLORS = ("#1ca9de", "#f27c11", "#196e53", "#b11f90", "#9177ff", "#a38f54", "#9414ff", "#d4819c")
"""Told apart by color-blind eyes too, and seen on white and on black."""
NARROW = 660
"""Px that a figure has beside the samples on a page of 1280."""
EMPTY = "No round is finished yet: press Start,<br>and the first point appears here."
HEALTH = {
    "agreement": ("agreement with the teacher", "share of images"),
    "entropy": ("class entropy", "nats"),
    "confidence": ("teacher confidence", "probability"),
    "bn_gap": ("batch-norm gap", "summed norm"),
    "distance": ("image distance", "RMS pixel, 0 to 1"),
}


def curves(
    reports: Reports, teacher_accuracy: float | None = None, means: Mapping[int, float] | None = None
) -> go.Figure:
    """Student accuracy by evaluated round with its mean so far, the teacher's as dashes, and their agreement."""
    figure = go.Figure(_curves(reports, teacher_accuracy, means))
    figure.update_layout(xaxis_title="round", yaxis_title=_unit(reports), yaxis_range=[0, 1.03])
    return finished(figure, reports, 340)


def health(reports: Reports) -> go.Figure:
    """The signals that need no label, as small multiples."""
    figure = make_subplots(rows=2, cols=3, subplot_titles=[title for title, _ in HEALTH.values()],
                           specs=[[{}, {}, {}], [{}, {}, None]],
                           vertical_spacing=0.26, horizontal_spacing=0.13)  # fmt: skip
    for index, (name, (_, unit)) in enumerate(HEALTH.items()):
        place = {"row": index // 3 + 1, "col": index % 3 + 1}
        figure.add_trace(line(reports, name, signal(name), color=COLORS[index]), **place)
        figure.update_xaxes(title={"text": "round", "standoff": 4}, **place)
        figure.update_yaxes(title={"text": unit, "standoff": 4}, **place)
    return finished(figure, reports, 460)


def losses(reports: Reports) -> go.Figure:
    """Mean of every loss by round, before its weight."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=["synthesis", "student"], horizontal_spacing=0.15)
    groups: tuple[Callable[[Report], Mapping[str, float]], ...] = (lambda each: each.terms, lambda each: each.student)
    drawn = 0
    for place, group in enumerate(groups, 1):
        for name in dict.fromkeys(name for report in reports for name in group(report)):
            trace = line(reports, name, partial(_loss, group, name), color=COLORS[drawn % len(COLORS)], legend=True)
            trace.line.dash = "dot" if drawn >= len(COLORS) else None
            figure.add_trace(trace, row=1, col=place)
            drawn += 1
    figure.update_xaxes(title_text="round")
    figure.update_yaxes(title_text="loss, unweighted")
    return legend_below(finished(figure, reports, 360))


def cost(reports: Reports) -> go.Figure:
    """What the run has used so far: seconds by phase, and images and teacher queries."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=["time", "images"], horizontal_spacing=0.15)
    for index, phase in enumerate(("synthesis", "distillation", "evaluation", "writing")):
        trace = line(reports, phase, spent(f"{phase}_s"), color=COLORS[index], legend=True)
        figure.add_trace(trace.update(stackgroup="seconds"), row=1, col=1)
    for index, (name, key) in enumerate((("images synthesized", "images"), ("teacher queries", "teacher_queries"))):
        figure.add_trace(line(reports, name, spent(key), color=COLORS[index + 4], legend=True), row=1, col=2)
    figure.update_xaxes(title_text="round")
    figure.update_yaxes(title_text="seconds, summed up", row=1, col=1)
    figure.update_yaxes(title_text="images, summed up", row=1, col=2)
    return legend_below(finished(figure, reports, 360))


def smoothed(figure: go.Figure, weight: float) -> go.Figure:
    """``figure`` with its lines as moving means (:func:`widgets.series.smoothed`), and pale what they are means of.

    Bars, sums that are stacked, lines of two ends, and what is a mean already stay as they are.
    """
    if not weight:
        return figure
    pale = []
    for trace in figure.data:
        if trace.type != "scatter" or trace.stackgroup or len(trace.x) < 3 or trace.name == series.MEAN_OVER_ROUNDS:
            continue
        raw = go.Scatter(trace).update(opacity=0.25, showlegend=False, hoverinfo="skip", mode="lines")
        pale.append(raw)
        trace.update(y=series.smoothed(np.asarray(trace.y, np.float32), weight), mode="lines")
    return figure.add_traces(pale)


def themed(figure: go.Figure, height: int, *, labels: bool = True, **layout: Any) -> go.Figure:
    """The look of every figure here, with ``height`` in px and ``layout`` besides; axes without ``labels`` are bare."""
    look = {
        "template": "none",
        "height": height,
        "autosize": True,
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {"color": TEXT, "size": 12},
        "hoverlabel": {"namelength": -1},
        "modebar": {"orientation": "v"},  # along the upper edge it would lie on titles and legends
        "legend": {"orientation": "h", "x": 0, "bgcolor": "rgba(0, 0, 0, 0)", **layout.pop("legend", {})},
    }
    axis = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True, "showticklabels": labels}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure.update_layout(**look, **layout)


def by_round(first: int, last: int, most: int = 6) -> dict[str, Any]:
    """An axis of rounds with about ``most`` labels or fewer: none twice, between two, or before ``first``."""
    few = {"tickmode": "linear", "tick0": first, "dtick": 1}
    axis = few if last - first < most else {"tickformat": "d", "nticks": most}
    return {"title_text": "round", "autorangeoptions_clipmin": first - 0.5, **axis}


def as_json(figure: go.Figure) -> dict[str, Any]:
    """What plotly.js draws: data, layout and config."""
    return {**json.loads(figure.to_json()), "config": CONFIG}


def bundle(figure: go.Figure) -> dict[str, Any]:
    """A still figure of some kilobytes, as a notebook stores it: to be drawn by plotly, as a picture, and in words."""
    picture = base64.b64encode(pictures.png(figure)).decode()
    return {
        "application/vnd.plotly.v1+json": as_json(figure),
        "image/png": picture,
        "text/plain": pictures.words(figure),
    }


def show(figure: go.Figure) -> None:
    """Display a still figure; who hears a page has the words."""
    data = bundle(figure)
    display(data, metadata={"image/png": {"alt": data["text/plain"]}}, raw=True)


def _loss(group: Callable[[Report], Mapping[str, float]], name: str, report: Report) -> float | None:
    return group(report).get(name)


def _curves(
    reports: Reports, teacher_accuracy: float | None, means: Mapping[int, float] | None = None
) -> list[go.Scatter]:
    evaluated = [report for report in reports if report.accuracy is not None]
    means = mean_over_rounds(reports) if means is None else means
    measured, what = bool(evaluated), reports[-1].metric if len(reports) else "accuracy"
    student = line(evaluated, f"student {what}", accuracy, color=COLORS[0], legend=measured)
    agreeing = line(reports, "agreement on synthetic images", agreement, color=COLORS[1], legend=True)
    agreeing.line.width = 1.2 if measured else 2
    known = teacher_accuracy is not None and len(reports) > 0
    ends = [reports[0].round, max(reports[-1].round, reports[0].round + 1)] if known else []
    teacher = go.Scatter(
        x=np.asarray(ends, np.float32),
        y=np.asarray([teacher_accuracy] * len(ends), np.float32),
        name=f"teacher {what}" if teacher_accuracy is None else f"teacher {what} {teacher_accuracy:.3f}",
        mode="lines",
        line={"color": TEXT, "dash": "dash", "width": 1.5},
        showlegend=known,
    )
    mean = line(evaluated, MEAN_OVER_ROUNDS, lambda report: means.get(report.round), color=COLORS[4], legend=measured)
    mean.line.dash = "dot"
    return [student, agreeing, teacher, mean.update(mode="lines")]


def _unit(reports: Reports) -> str:
    """Of the curves: a segmentation's agreement is of pixels."""
    dense = len(reports) > 0 and reports[-1].metric == "mIoU"
    return "mIoU; share of pixels" if dense else "fraction of images"


def line(reports: Reports, name: str, value: Value, *, color: str, legend: bool = False) -> go.Scatter:
    """One number of a run by round."""
    rows = thin(reports)
    return go.Scatter(
        x=column(rows, lambda report: report.round),
        y=column(rows, value),
        name=name,
        mode="lines+markers" if len(rows) <= 60 else "lines",
        line={"color": color, "width": 2},
        marker={"size": 4},
        hovertemplate="%{y:,.3~f}",
        showlegend=legend,
    )


def finished(figure: go.Figure, reports: Reports, height: int, empty: str = EMPTY) -> go.Figure:
    """The look, and the note that stands where no point is yet (always the last annotation)."""
    legend = {"yanchor": "bottom", "y": 1.02}
    margin = {"l": 56, "r": 12, "t": 40, "b": 44}
    themed(figure, height, labels=bool(reports), legend=legend, margin=margin, hovermode="x")
    rounds = (reports[0].round, reports[-1].round) if reports else (1, 1)
    figure.update_xaxes(selector={"title.text": "round"}, **by_round(*rounds))
    figure.update_annotations(font={"color": TEXT, "size": 12})
    return figure.add_annotation(
        text="" if reports else empty, xref="paper", yref="paper", x=0.5, y=0.75, showarrow=False,
        font={"color": TEXT, "size": 14},
    )  # fmt: skip


def legend_below(figure: go.Figure) -> go.Figure:
    """At the lower edge, with room for as many rows as the names take where a figure is ``NARROW``."""
    names = [trace.name for trace in figure.data if trace.showlegend]
    figure.update_xaxes(title_standoff=4)
    legend = {"yref": "container", "y": 0, "yanchor": "bottom"}
    return figure.update_layout(legend=legend, margin_b=52 + legend_height(names))


def legend_height(names: Sequence[str]) -> int:
    """Px that the rows of a legend take where a figure is ``NARROW``; a name may have several lines."""
    lines = [line for name in names for line in name.split("<br>")]
    in_a_row = max(1, (NARROW - 68) // (7 * max(map(len, lines), default=1) + 46))
    tallest = max((name.count("<br>") + 1 for name in names), default=1)
    return 19 * tallest * -(-len(names) // in_a_row)
