"""The classes of segmentations, a panel for each set of names."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from widgets.class_figures import class_axis
from widgets.compare.figures import PANEL_PX, with_legend
from widgets.compare.groups import Group
from widgets.figures import COLORS


def by_class(groups: Sequence[Group]) -> go.Figure:
    """Of segmentations: the intersection over union of each class in the last evaluation, mean over seeds.

    A line up and down from a bar is one standard deviation. Groups whose classes have the same names share a panel.
    """
    dense = [(index, each) for index, each in enumerate(groups) if each.iou]
    panels: dict[tuple[str, ...], list[tuple[int, Group]]] = {}
    for index, each in dense:
        panels.setdefault(each.class_names, []).append((index, each))
    rows = max(1, len(panels))
    figure = make_subplots(rows=rows, cols=1, vertical_spacing=0.3 / rows)
    for row, (names, inside) in enumerate(panels.items(), 1):
        figure.add_traces([_bars(each, index) for index, each in inside], rows=row, cols=1)
        figure.update_xaxes(**class_axis(names), row=row, col=1)
    figure.update_yaxes(title_text="intersection over union")
    with_legend(figure, [each for _, each in dense])
    more = PANEL_PX * (rows - 1)
    figure.update_layout(height=figure.layout.height + more, barmode="group")
    return figure.update_layout(legend_title_text="mean over n seeds, ± one standard deviation")


def _bars(group: Group, index: int) -> go.Bar:
    means = [statistics.mean(values) if values else math.nan for values in group.iou]
    deviations = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in group.iou]
    return go.Bar(
        x=np.arange(len(means), dtype=np.float32),
        y=np.asarray(means, np.float32),
        error_y={"array": deviations, "visible": any(deviations), "thickness": 1},
        name=f"{group.title} (n = {len(group.runs)})",
        marker_color=COLORS[index % len(COLORS)],
    )
