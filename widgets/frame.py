"""One chart for every figure of a run: it has always the same traces and axes, so it is redrawn in place.

A kernel can have one FigureWidget only (a closed one is never freed), and traces that are added and removed while a
page is opened can get lost. So what a figure does not use is there and hidden.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from widgets import figures

LINES, AXES, HEIGHT = 16, 5, 470
"""Lines and pairs of axes that a figure can have; there is one bar trace besides."""

VIEWS = {
    "accuracy and health": "Student and teacher, and the signals that need no label",
    "losses": "Every term of both losses, before its weight",
    "cost": "Seconds by phase, images and teacher queries so far",
    "buffer": "What the memory holds",
}

BLANK_LINE: dict[str, Any] = {
    "x": [],
    "y": [],
    "name": "",
    "mode": "lines",
    "line": {"color": None, "width": None, "dash": "solid"},
    "marker": {"size": None},
    "stackgroup": None,
    "showlegend": False,
    "legend": "legend",
    "xaxis": "x",
    "yaxis": "y",
}
BLANK_BAR: dict[str, Any] = {"x": [], "y": [], "name": "", "showlegend": False, "xaxis": "x", "yaxis": "y"}
BLANK_AXIS: dict[str, Any] = {
    "visible": False,
    "title": {"text": "", "standoff": None},
    "range": None,
    "autorange": True,
    "rangemode": "normal",
    "nticks": None,
    "dtick": None,
    "tickformat": "",
}


def view(name: str, events: figures.Events, teacher_accuracy: float | None = None) -> go.Figure:
    """The figure of that name in ``VIEWS``."""
    if name == "accuracy and health":
        return figures.overview(events, teacher_accuracy)
    return {"losses": figures.losses, "cost": figures.cost, "buffer": figures.buffer}[name](events)


def new(figure: go.Figure) -> Any:
    """A FigureWidget that shows ``figure``."""
    traces, layout = _everything(figure)
    makers = LINES * [go.Scatter] + [go.Bar]
    return go.FigureWidget([make(each) for make, each in zip(makers, traces, strict=True)], layout)


def redraw(chart: Any, figure: go.Figure, before: dict[str, Any]) -> dict[str, Any]:
    """Make ``chart`` show ``figure``; returns its layout, which the next call is given as ``before``.

    The layout is sent when it changes, and not with every point: a person's zoom lasts.
    """
    traces, layout = _everything(figure)
    for old, fresh in zip(chart.data, traces, strict=True):
        old.update(fresh)
    chart.layout.annotations = layout.pop("annotations")
    if layout != before:
        chart.layout.update(layout)
    return layout


def _everything(figure: go.Figure) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All traces and the layout of a chart that shows ``figure``, with nothing left open."""
    lines = [_filled(BLANK_LINE, trace) for trace in figure.select_traces(selector={"type": "scatter"})]
    bars = [_filled(BLANK_BAR, trace) for trace in figure.select_traces(selector={"type": "bar"})]
    lines += LINES * [{**BLANK_LINE, "visible": False}]
    bars += [{**BLANK_BAR, "visible": False}]
    layout = {**figure.layout.to_plotly_json(), "height": HEIGHT}
    for number in ["", *range(2, AXES + 1)]:
        for letter, other in ("xy", "yx"):
            layout[f"{letter}axis{number}"] = _axis(layout.get(f"{letter}axis{number}"), f"{other}{number}")
    return [*lines[:LINES], bars[0]], layout


def _filled(blank: dict[str, Any], trace: Any) -> dict[str, Any]:
    """``trace``, and what it leaves open as ``blank`` says, so that nothing of another figure stays."""
    given = {"visible": True, **trace.to_plotly_json()}
    del given["type"]
    nested = {name: {**value, **given.get(name, {})} for name, value in blank.items() if isinstance(value, dict)}
    return {**blank, **given, **nested}


def _axis(given: dict[str, Any] | None, anchor: str) -> dict[str, Any]:
    if given is None:
        return {**BLANK_AXIS, "anchor": anchor, "domain": [0, 1]}
    title = {**BLANK_AXIS["title"], **given.get("title", {})}
    return {**BLANK_AXIS, "anchor": anchor, "visible": True, "autorange": "range" not in given, **given, "title": title}
