"""The student's loss on one stored image through the rounds, below the image when it is enlarged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from widgets.chart import Chart
from widgets.figures import COLORS, by_round, themed

HEIGHT_PX = 200


class LossHistory:
    """The figure, for as long as there is something to show."""

    def __init__(self) -> None:
        self.widget = Chart(figure({}))
        self.show({})

    def show(self, losses: Mapping[int, float]) -> None:
        """Draw these losses, by round; nothing is there without any."""
        if losses:
            self.widget.show(figure(losses))
        self.widget.layout.display = None if losses else "none"


def figure(losses: Mapping[int, float]) -> go.Figure:
    """The student's last loss on an image after each round that was kept.

    Args:
        losses: By round.
    """
    x, y = (np.asarray([*each], np.float32) for each in (losses.keys(), losses.values()))
    line = go.Scatter(
        x=x,
        y=y,
        name="last loss",
        mode="lines+markers" if len(x) <= 60 else "lines",
        line={"color": COLORS[0], "width": 2},
        marker={"size": 4},
        hovertemplate="%{y:,.3~f}",
    )
    drawn = go.Figure(line)
    drawn.update_xaxes(**by_round(min(losses, default=1), max(losses, default=1)))
    drawn.update_yaxes(title_text="loss", rangemode="tozero")
    margin = {"l": 56, "r": 12, "t": 28, "b": 44}
    themed(drawn, HEIGHT_PX, margin=margin, hovermode="x")
    return drawn.update_layout(title={"text": "the student's last loss on this image", "font_size": 12, "x": 0})
