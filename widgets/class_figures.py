"""Figures by class, of networks that label every pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from widgets.figures import COLORS, TEXT, themed
from widgets.series import Reports

SCALE = ((0.0, "#3f86d8"), (0.5, "#9a8a86"), (1.0, "#e08214"))
"""Its ends and its middle are seen on light and on dark ground, and told apart by color-blind eyes."""
FADING = (
    (0.0, "rgba(63, 134, 216, 0.15)"),
    (0.25, "rgba(63, 134, 216, 0.6)"),
    (0.5, "rgba(154, 138, 134, 1)"),
    (1.0, "rgba(224, 130, 20, 1)"),
)
"""The same for areas without a number: a small share is hardly seen before the page."""
NO_MAPS = "The first evaluation shows the classes here."


def axis_names(names: Sequence[str], shown: Sequence[int]) -> list[str]:
    """Class names for an axis that has a place for each name: with their numbers, if two are alike."""
    alike = {name for name, count in Counter(names).items() if count > 1}
    return [
        escape(f"{names[place]} ({place})" if names[place] in alike else names[place], quote=False) for place in shown
    ]


def class_axis(names: Sequence[str]) -> dict[str, object]:
    """A place for each class, long names aslant."""
    slanted = -45 if max(map(len, names), default=0) > 4 else None
    places = list(range(len(names)))
    return {"title_text": "class", "tickvals": places, "ticktext": axis_names(names, places), "tickangle": slanted}


def by_class(reports: Reports, names: Sequence[str] = (), teacher_iou: Sequence[float | None] = ()) -> go.Figure:
    """Of a segmentation: what the last evaluation found by class, and how many synthetic pixels each class has.

    A network that calls everything background is right about most pixels; by class it shows.

    Args:
        reports: Of the run.
        names: Of the classes; their numbers where there are none.
        teacher_iou: The teacher's, by class.
    """
    last = next((report for report in reversed(reports) if report.details.get("iou")), None)
    iou: Sequence[float | None] = last.details["iou"] if last else ()
    shares: Mapping[str, Sequence[float]] = next((each.shares for each in reversed(reports) if each.shares), {})
    count = max(len(iou), len(shares.get("teacher", ())))
    titles = [f"evaluation images, round {last.round}" if last else "evaluation images", "synthetic pixels, last round"]
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.18)
    for column, pairs in enumerate(((iou, teacher_iou), (shares.get("student", ()), shares.get("teacher", ()))), 1):
        for values, who, color in zip(pairs, ("student", "teacher"), (COLORS[0], TEXT), strict=True):
            named = len(values) > 0 and who not in {trace.name for trace in figure.data if trace.showlegend}
            figure.add_trace(_bars(values[:count], who, color, named), row=1, col=column)
    figure.update_xaxes(**class_axis([names[at] if at < len(names) else str(at) for at in range(count)]))
    figure.update_yaxes(title_text="intersection over union", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="share of pixels", rangemode="tozero", row=1, col=2)
    themed(figure, 360, labels=bool(count), margin={"l": 56, "r": 12, "t": 40, "b": 100}, barmode="group")
    figure.update_annotations(font={"color": TEXT, "size": 12})
    note = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.75, "showarrow": False}
    figure.add_annotation(text="" if count else NO_MAPS, font={"color": TEXT, "size": 14}, **note)
    return figure.update_layout(legend={"yref": "container", "yanchor": "bottom", "y": 0})


def _bars(values: Sequence[float | None], name: str, color: str, named: bool) -> go.Bar:
    """One network's; ``named`` in the legend, which is that of both panels."""
    drawn = np.asarray([np.nan if value is None else value for value in values], np.float32)
    x = np.arange(len(drawn), dtype=np.float32)
    return go.Bar(x=x, y=drawn, name=name, marker_color=color, showlegend=named, legendgroup=name)
