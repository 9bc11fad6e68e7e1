"""Names for sliders, which ipywidgets draws without one for those who hear the page."""

from __future__ import annotations

from pathlib import Path

import anywidget


class SliderNames(anywidget.AnyWidget):
    """Names every slider of the tabs that it is in by the text beside it, whenever it is drawn; itself not seen."""

    _esm = Path(__file__).with_name("slider_names.js")
