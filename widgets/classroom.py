"""Class mode: type that is read from the back row, on a page that Voilà serves (``make demo-class``)."""

from __future__ import annotations

from typing import Any

from widgets import status

TYPE = 1.5
"""How many times as large as at a desk are the text of figures, and their lines and margins."""
STYLE = """<style>
:root { --jp-ui-font-size1: 18px; --jp-content-font-size1: 18px; --jp-widgets-font-size: 18px;
    --jp-widgets-inline-height: 38px; --jp-ui-font-color1: #000; --jp-ui-font-color2: #222;
    --jp-widgets-label-color: #000; }
.jp-OutputArea-output .widget-html-content, .jp-OutputArea-output .widget-html-content > div { font-size: 18px; }
.jp-OutputArea-output .widget-html-content p, .jp-RenderedHTMLCommon h1 { margin: 0; }
.jp-OutputArea-output .jupyter-button { font-size: 20px; }
.jp-OutputArea-output .dfkd-headline { min-height: 118px; }
.dfkd-at-a-desk, .jp-OutputArea-output .dfkd-reserve { display: none; }
.jp-OutputArea-output .dfkd-headline b.dfkd-figure { font-size: 64px; line-height: 1; }
.jp-OutputArea-output .dfkd-headline span.dfkd-what,
.jp-OutputArea-output .dfkd-headline div.dfkd-rest { font-size: 20px; }
.dfkd-samples { zoom: 1.4; }
.dfkd-beside { flex-basis: 565px !important; }
.jp-OutputArea-output .widget-gridbox {
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)) !important; }
</style>"""


def style() -> str:
    """The style of the page: large on one that is served, else none of its own."""
    return STYLE if status.is_served() else ""


def enlarged(figure: dict[str, Any]) -> dict[str, Any]:
    """What plotly.js draws, in large type on a page that is served, else as it is."""
    return _scaled(figure) if status.is_served() else figure


def _scaled(part: Any, name: str = "") -> Any:
    """Fonts, lines, marks and margins of a figure, wherever they are in it, times :data:`TYPE`."""
    if isinstance(part, dict):
        return {key: _scaled(value, f"{name}.{key}") for key, value in part.items()}
    if isinstance(part, list):
        return [_scaled(each, name) for each in part]
    return part * TYPE if isinstance(part, int | float) and name.endswith(SCALED) else part


SCALED = ("font.size", ".line.width", ".marker.size", ".margin.l", ".margin.r", ".margin.t", ".margin.b")
