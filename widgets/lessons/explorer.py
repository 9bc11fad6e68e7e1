"""One figure and one choice: drawn anew for each choice in JupyterLab, drawn once when nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import plotly.graph_objects as go
from IPython.display import display

from widgets import figures, status

_charts: list[Any] = []


def chart(figure: go.Figure) -> Any:
    """The kernel's one FigureWidget, showing ``figure``: a closed one is never freed, so it is opened again."""
    if not _charts:
        widget = go.FigureWidget(figure)
        widget._config = figures.CONFIG
        _charts.append(widget)
        return widget
    _charts[0].close()
    _charts[0].data = []
    _charts[0].add_traces(list(figure.data))
    _charts[0].layout = figure.layout
    go.FigureWidget._repr_mimebundle_(_charts[0])
    _charts[0].open()
    return _charts[0]


class Explorer:
    """``draw(choice)`` gives a figure, always of the same traces; ``choices`` are its choices, by the words shown.

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
        self.chart = chart(draw(first))
        self.choice.observe(self._redraw, "value")
        # In a VBox the chart takes the whole width.
        display(ipywidgets.VBox([self.choice, self.chart], layout=ipywidgets.Layout(width="100%")))

    def _redraw(self, change: dict[str, Any]) -> None:
        fresh = self.draw(change["new"])
        with self.chart.batch_update():
            for old, new in zip(self.chart.data, fresh.data, strict=True):
                old.update(new.to_plotly_json())
            self.chart.layout.update(fresh.layout.to_plotly_json())
