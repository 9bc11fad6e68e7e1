"""A plotly figure in the page. Its state is the whole figure, so nothing depends on which messages a page has heard.

plotly's own FigureWidget sends differences: one that is sent while a page is still opening is lost, and the chart then
shows a mixture for good. It also brings its own 5 MB with every instance, none of which is ever freed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets

from widgets import classroom, figures, kernel

LIBRARY = Path(plotly.__file__).with_name("package_data") / "plotly.min.js"


class Chart(anywidget.AnyWidget):
    """A live view of a figure: ``show`` replaces it, and a person's zoom lasts while ``layout.uirevision`` does."""

    _esm = Path(__file__).with_name("chart.js")
    figure = traitlets.Dict().tag(sync=True)

    def __init__(self, figure: go.Figure):
        kernel.keep_reading()  # every live view has a chart
        self.show(figure)
        super().__init__(figure=self.figure)
        self.on_msg(self._answer)

    def show(self, figure: go.Figure) -> None:
        """Draw ``figure`` instead."""
        self.drawn = figure
        self.figure = classroom.enlarged(figures.as_json(figure))
        self.size = len(json.dumps(self.figure))
        """Of what a page is sent, in bytes."""

    def _answer(self, widget: Chart, message: Any, buffers: Any) -> None:
        """A page asks once for the library, which all of its charts then use."""
        if message == LIBRARY.name.replace(".min", ""):
            self.send(message, [LIBRARY.read_bytes()])
