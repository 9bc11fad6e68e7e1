"""One figure and one choice: drawn anew for each choice in JupyterLab, drawn once when nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from IPython.display import display

from widgets import figures, status
from widgets.chart import Chart


class Explorer:
    """``draw(choice)`` gives a figure; ``choices`` are its choices, by the words shown.

    ``ordered`` choices are on a slider, others in a list. Headless the figure of ``first`` is shown and stays.
    """

    def __init__(
        self,
        draw: Callable[[Any], go.Figure],
        name: str,
        choices: Sequence[tuple[str, Any]],
        first: Any,
        *,
        ordered: bool = False,
        live: bool | None = None,
    ):
        self.draw = draw
        if not status.is_live(live):
            figures.show(draw(first))
            return
        field = ipywidgets.SelectionSlider if ordered else ipywidgets.Dropdown
        quiet = {"continuous_update": False} if ordered else {}
        layout = ipywidgets.Layout(width="min(100%, 480px)")
        self.choice = field(options=choices, value=first, description=name, layout=layout,
                            style={"description_width": "initial"}, **quiet)  # fmt: skip
        self.chart = Chart(draw(first))
        self.choice.observe(self._redraw, "value")
        display(ipywidgets.VBox([self.choice, self.chart], layout=ipywidgets.Layout(width="100%")))

    def _redraw(self, change: dict[str, Any]) -> None:
        self.chart.show(self.draw(change["new"]))
