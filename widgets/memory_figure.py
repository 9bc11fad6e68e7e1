"""What the memory of a run holds: its reports in, a plotly figure out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dfkd_lab.engine.report import Report
from widgets.class_figures import class_axis
from widgets.figures import COLORS, EMPTY, finished, legend_below, line
from widgets.series import Reports

UNLOGGED = "This run did not log what its memory holds."
NOTHING_HELD = "This memory keeps nothing:<br>every student step sees images that were just made."
MOST_NAMED = 20
"""Classes up to which each has its name at the axis."""


def buffer(reports: Reports, names: Sequence[str] = ()) -> go.Figure:
    """What the memory holds: images by class now, and by round its priorities, its age, or how even its classes are.

    Args:
        reports: Of the run.
        names: Of the classes; their numbers where there are none.
    """
    held = [report for report in reports if report.memory]
    now = held[-1].memory or {} if held else {}
    title, unit, traces = _by_round(held)
    titles = [_held(now), title] if held else None
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.18)
    counts = np.asarray(now.get("classes", []), np.float32)
    x = np.arange(len(counts), dtype=np.float32)
    figure.add_trace(go.Bar(x=x, y=counts, name="images", marker_color=COLORS[2], showlegend=False), row=1, col=1)
    figure.add_traces(traces, rows=1, cols=2)
    figure.update_yaxes(title_text=_count(held), rangemode="tozero", row=1, col=1)
    figure.update_xaxes(title_text="round", row=1, col=2)
    figure.update_yaxes(title_text=unit, rangemode="tozero", row=1, col=2)
    unlogged = NOTHING_HELD if reports and reports[-1].memory is not None else UNLOGGED
    finished(figure, held, 360, unlogged if reports else EMPTY)
    if len(counts) <= MOST_NAMED:
        known = names if len(names) == len(counts) else [*map(str, range(len(counts)))]
        figure.update_xaxes(**class_axis(known), row=1, col=1)
    figure.update_xaxes(title_text="class the teacher sees", row=1, col=1)
    if now.get("priorities"):
        figure.update_yaxes(type="log", row=1, col=2)  # the largest is many times the median
    if not held:
        figure.for_each_xaxis(lambda axis: axis.update(visible=False))
        figure.for_each_yaxis(lambda axis: axis.update(visible=False))  # the note would lie on their titles
    return legend_below(figure)


def _by_round(held: Reports) -> tuple[str, str, list[go.Scatter]]:
    """Title, unit and lines of what a memory says of itself by round."""
    now = held[-1].memory or {} if held else {}
    if now.get("priorities"):
        names = ("smallest", "25 %", "median", "75 %", "largest")
        lines = [
            line(held, name, partial(_priority, index), color=COLORS[index], legend=True)
            for index, name in enumerate(names)
        ]
        return "priority: the student's last loss", "loss", lines
    if "oldest" in now:
        age = line(held, "oldest", lambda report: (report.memory or {}).get("oldest"), color=COLORS[4])
        return "age of the oldest image", "rounds", [age]
    lines = [
        line(held, f"class seen {name}", partial(_share, extreme), color=COLORS[index], legend=bool(held))
        for index, (name, extreme) in enumerate((("most", max), ("least", min)))
    ]
    return "the most and the least seen class", "share of images", lines


def _priority(index: int, report: Report) -> float | None:
    priorities = (report.memory or {}).get("priorities") or []
    return priorities[index] if index < len(priorities) else None


def _share(extreme: Callable[[Sequence[float]], float], report: Report) -> float | None:
    classes = (report.memory or {}).get("classes") or []
    return extreme(classes) / max(1, sum(classes)) if classes else None


def _held(now: Mapping[str, Any]) -> str:
    """What a memory holds, in words."""
    if {"replayed", "bytes"} <= now.keys():
        kept = f"memory: {now['bytes'] / 1e6:.2g} MB, {now['replayed']} images replayed a step"
        return f"all images synthesized so far<br>({kept})"
    if {"images", "capacity", "oldest"} <= now.keys():
        rounds = "round" if now["oldest"] == 1 else "rounds"
        return f"{now['images']:,} of {now['capacity']:,} images, the oldest {now['oldest']:,} {rounds} old"
    return "images by class"


def _count(held: Reports) -> str:
    """What the bars count; an image of which every pixel has a class adds to each the share of its pixels."""
    return "sum of shares of pixels" if held and held[-1].metric == "mIoU" else "images"
