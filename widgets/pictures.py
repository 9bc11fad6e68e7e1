"""A figure as a picture, for pages that draw no plotly: GitHub, nbviewer, nbconvert, paper.

plotly's own way to a picture needs a browser. This draws what the figures of this project are made of (lines, bands,
bars, images, text, axes, legends) with matplotlib, where plotly.js has it.
"""

from __future__ import annotations

import base64
import io
import re
from collections import defaultdict
from html import unescape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator, MultipleLocator, NullLocator, ScalarFormatter
from matplotlib.transforms import Bbox
from PIL import Image

WIDTH, DOTS_PER_INCH = 900, 100
POINTS = 72 / DOTS_PER_INCH
"""Of a pixel: plotly gives sizes of text and lines in pixels, matplotlib takes points."""
DASHES: dict[str | None, Any] = {
    None: "-",
    "solid": "-",
    "dash": "--",
    "dot": ":",
    "dashdot": "-.",
    "longdash": (0, (8, 3)),
}
SYMBOLS = {None: "o", "circle": "o", "square": "s", "diamond": "D", "cross": "P"}
Frame = tuple[float, float, float, float]
"""Left, bottom, width and height of the plotted area, as shares of the picture."""


def png(figure: go.Figure) -> bytes:
    """The figure as a PNG on a transparent ground, ``WIDTH`` pixels wide, or as much more as its words need."""
    height, margin = figure.layout.height or 450, figure.layout.margin
    drawn = Figure(figsize=(WIDTH / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    canvas = FigureCanvasAgg(drawn)
    left, right, top, bottom = (80 if each is None else each for each in (margin.l, margin.r, margin.t, margin.b))
    frame = (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    panels = _panels(figure, drawn, frame)
    stacked: dict[str, Any] = defaultdict(float)
    for trace in figure.data:
        DRAW[trace.type](panels[trace.xaxis or "x"], trace, stacked)
    for name, axes in panels.items():
        _finish(figure, axes, _axis(figure, name), _axis(figure, name.replace("x", "y")))
    for shape in figure.layout.shapes:  # lines across a panel
        look = {"color": _color(shape.line.color), "linestyle": DASHES[shape.line.dash], "linewidth": POINTS}
        panels[shape.xref].axvline(shape.x0, **look)
    for note in figure.layout.annotations:
        _annotate(figure, drawn, panels, frame, note)
    _legends(figure, drawn, frame, height)
    file = io.BytesIO()
    everything = Bbox.union([drawn.bbox_inches, drawn.get_tightbbox(canvas.get_renderer())])
    drawn.savefig(file, format="png", transparent=True, bbox_inches=everything)
    return file.getvalue()


def words(figure: go.Figure) -> str:
    """What the figure shows, for who sees no picture: a line for each curve, with its last value.

    It stays escaped where the figure is, as a page may show it.
    """
    notes = [_words(note.text) for note in figure.layout.annotations if note.text]
    lines = ["Figure: " + "; ".join(notes) if notes else "Figure"]
    for trace in figure.data:
        name = _words(trace.name or "")
        if trace.type == "bar":
            lines.append(f"{name or 'bars'}: {', '.join(f'{value:.4g}' for value in trace.y)}")
        elif trace.type == "scatter" and name and trace.fill != "toself" and trace.hoverinfo != "skip":
            known = [(x, y) for x, y in zip(_numbers(trace.x), _numbers(trace.y), strict=True) if np.isfinite(y)]
            axis = _words(_axis(figure, trace.xaxis or "x").title.text or "")
            end = " ".join(filter(None, (axis, f"{known[-1][0]:g}"))) if known else ""
            lines.append(f"{name}: {known[-1][1]:.4g} at {end}" if known else f"{name}: no value yet")
    return "\n".join(lines)


def _panels(figure: go.Figure, drawn: Figure, frame: Frame) -> dict[str, Axes]:
    """By the name of its x axis, each panel at its share of the frame."""
    left, bottom, width, height = frame
    found = {}
    for name in dict.fromkeys(trace.xaxis or "x" for trace in figure.data) or ["x"]:
        (x0, x1), (y0, y1) = (_axis(figure, each).domain or (0.0, 1.0) for each in (name, name.replace("x", "y")))
        place = (left + x0 * width, bottom + y0 * height, (x1 - x0) * width, (y1 - y0) * height)
        found[name] = drawn.add_axes(place)
    return found


def _scatter(axes: Axes, trace: Any, stacked: dict[str, Any]) -> None:
    x, y, mode = _numbers(trace.x), _numbers(trace.y), trace.mode or "lines"
    color = _color(trace.line.color or trace.marker.color)
    if "text" in mode:
        _write(axes, trace, x, y)
    if mode == "text":
        return
    if trace.fill == "toself":
        axes.fill(x, y, color=_color(trace.fillcolor), linewidth=0, alpha=trace.opacity)
        return
    if trace.stackgroup:
        below = stacked[trace.stackgroup] + np.zeros_like(y)
        stacked[trace.stackgroup] = y = below + np.nan_to_num(y)
        axes.fill_between(x, below, y, color=color, alpha=0.5, linewidth=0)
    axes.plot(x, y, **_look(trace), color=color)
    if trace.error_y.array is not None:
        axes.errorbar(x, y, yerr=_numbers(trace.error_y.array), fmt="none", ecolor=color, elinewidth=POINTS)


def _write(axes: Axes, trace: Any, x: Any, y: Any) -> None:
    """Text at each point, or to the right of it."""
    many, side = isinstance(trace.textfont.color, tuple | list), trace.textposition == "middle right"
    for number, text in enumerate(trace.text):
        each = trace.textfont.color[number] if many else trace.textfont.color
        look: dict[str, Any] = {"color": _color(each), "fontsize": (trace.textfont.size or 12) * POINTS}
        look |= {"ha": "left", "va": "center"} if side else {"ha": "center", "va": "center"}
        axes.text(x[number], y[number], f" {_plain(text)}" if side else _plain(text), **look)


def _look(trace: Any) -> dict[str, Any]:
    """Line and marker of a curve."""
    mode, symbol = trace.mode or "lines", trace.marker.symbol or "circle"
    return {
        "linestyle": DASHES[trace.line.dash] if "lines" in mode else "none",
        "linewidth": (2 if trace.line.width is None else trace.line.width) * POINTS,
        "marker": SYMBOLS[symbol.removesuffix("-open")] if "markers" in mode else "",
        "markersize": (trace.marker.size or 6) * POINTS,
        "fillstyle": "none" if symbol.endswith("-open") else "full",
        **({"markeredgecolor": _color(edge)} if (edge := trace.marker.line.color) else {}),
    }


def _bar(axes: Axes, trace: Any, stacked: dict[str, Any]) -> None:
    """Bars of a second arm are drawn over those of the first, which are seen through them."""
    spread = {} if trace.error_y.array is None else {"yerr": _numbers(trace.error_y.array), "error_kw": {"lw": POINTS}}
    axes.bar(_numbers(trace.x), _numbers(trace.y), **_bars(trace, again=bool(axes.containers)), **spread)


def _bars(trace: Any, again: bool) -> dict[str, Any]:
    color = _color(trace.marker.color)
    return {"fill": False, "edgecolor": color, "linewidth": 2 * POINTS} if again else {"color": color}


def _image(axes: Axes, trace: Any, stacked: dict[str, Any]) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(trace.source.partition(",")[2]))).convert("RGBA"))
    axes.imshow(pixels, interpolation="nearest")


def _heatmap(axes: Axes, trace: Any, stacked: dict[str, Any]) -> None:
    shades = LinearSegmentedColormap.from_list("shades", [(at, _color(color)) for at, color in trace.colorscale])
    axes.imshow(np.asarray(trace.z, np.float64), cmap=shades, vmin=trace.zmin, vmax=trace.zmax, interpolation="nearest")


DRAW = {"scatter": _scatter, "bar": _bar, "image": _image, "heatmap": _heatmap}


def _finish(figure: go.Figure, axes: Axes, x: Any, y: Any) -> None:
    """Titles, ranges, ticks and grid."""
    text = _color(figure.layout.font.color)
    for name, given, side in (("x", x, axes.xaxis), ("y", y, axes.yaxis)):
        if given.type == "log":
            getattr(axes, f"set_{name}scale")("log")
        if given.range:
            ends = [10**end for end in given.range] if given.type == "log" else given.range
            getattr(axes, f"set_{name}lim")(*ends)
        elif given.rangemode == "tozero" and given.type != "log":
            getattr(axes, f"set_{name}lim")(**{"left" if name == "x" else "bottom": 0})
        _ticks(given, side)
        side.set_tick_params(which="both", colors=text, labelsize=11 * POINTS, length=0)
        side.label.set(text=_plain(given.title.text or ""), color=text, fontsize=12 * POINTS)
        side.set_visible(given.visible is not False)
        if given.showgrid is not False and given.visible is not False:
            side.grid(visible=True, color=_color(given.gridcolor), linewidth=POINTS)
    axes.set_axisbelow(True)
    if x.side == "top":
        axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ticks(given: Any, side: Any) -> None:
    if given.tickvals is not None:
        side.set_major_locator(FixedLocator(list(given.tickvals)))
        side.set_minor_locator(NullLocator())
        labels = [f"{each:g}" for each in given.tickvals] if given.ticktext is None else map(_plain, given.ticktext)
        side.set_ticklabels(list(labels))
        if given.tickangle:  # clockwise for plotly, and the other way round for matplotlib
            side.set_tick_params(rotation=-given.tickangle)
            for label in side.get_ticklabels():
                label.set(ha="right", rotation_mode="anchor")
    elif given.dtick and given.type != "log":
        side.set_major_locator(MultipleLocator(given.dtick, given.tick0 or 0))
    elif given.type != "log":
        side.set_major_locator(MaxNLocator(given.nticks or 7, integer=given.tickformat == "d", min_n_ticks=1))
        side.set_major_formatter(ScalarFormatter(useOffset=False))
    if given.showticklabels is False:
        side.set_ticklabels([])


def _annotate(figure: go.Figure, drawn: Figure, panels: dict[str, Axes], frame: Frame, note: Any) -> None:
    """Text at a place of the whole plotted area, or of one panel."""
    if not note.text:
        return
    left, bottom, width, height = frame
    if note.xref == "paper":
        where = {"x": left + note.x * width, "y": bottom + note.y * height, "transform": drawn.transFigure}
    else:
        axes = panels[note.xref.partition(" ")[0]]
        where = {"x": note.x, "y": note.y, "transform": axes.transAxes if "domain" in note.xref else axes.transData}
    look: dict[str, Any] = {
        "color": _color(note.font.color or figure.layout.font.color),
        "fontsize": (note.font.size or 12) * POINTS,
    }
    anchors = {"ha": note.xanchor or "center", "va": {"middle": "center"}.get(note.yanchor or "middle", note.yanchor)}
    drawn.text(where["x"], where["y"], _plain(note.text), transform=where["transform"], **look, **anchors)


def _legends(figure: go.Figure, drawn: Figure, frame: Frame, height: int) -> None:
    """The names of the curves, for each legend at its place."""
    left, bottom, width, up = frame
    named: dict[str, list[Any]] = defaultdict(list)
    for trace in figure.data if figure.layout.showlegend is not False else ():
        if trace.type in ("scatter", "bar") and trace.showlegend is not False and trace.name:
            named[trace.legend or "legend"].append(trace)
    for name, traces in named.items():
        legend = figure.layout[name]
        room = WIDTH * (1 if len(named) == 1 else 0.45)
        x, y = left + (legend.x or 0) * width, bottom + (1.0 if legend.y is None else legend.y) * up
        drawn.legend(
            [_key(trace, again=number > 0) for number, trace in enumerate(traces)],
            [_plain(trace.name) for trace in traces],
            loc="lower left" if legend.yanchor == "bottom" else "upper left",
            bbox_to_anchor=(x, 0.0 if legend.yref == "container" else y),
            ncols=_columns([7 * len(_plain(trace.name)) + 46 for trace in traces], room),
            title=_plain(legend.title.text or ""),
            labelcolor=_color(figure.layout.font.color),
            fontsize=12 * POINTS,
            title_fontproperties={"size": 12 * POINTS},
            frameon=False,
            borderaxespad=0,
        ).get_title().set_color(_color(figure.layout.font.color))


def _key(trace: Any, again: bool) -> Artist:
    """What stands for a trace in the legend; ``again`` if its bars are drawn over others."""
    if trace.type == "bar":
        return Patch(**_bars(trace, again))
    return Line2D([], [], **_look(trace), color=_color(trace.line.color or trace.marker.color))


def _columns(widths: list[int], room: float) -> int:
    """Into how many columns names of these widths go; matplotlib fills one column after the other."""
    for columns in range(len(widths), 1, -1):
        rows = -(-len(widths) // columns)
        if sum(max(widths[at : at + rows]) for at in range(0, len(widths), rows)) <= room:
            return columns
    return 1


def _axis(figure: go.Figure, name: str) -> Any:
    """The layout of axis "x2", which plotly calls "xaxis2" there."""
    return figure.layout[f"{name[0]}axis{name[1:]}"]


def _numbers(values: Any) -> Any:
    return np.asarray([] if values is None else values, np.float64)


def _words(text: str) -> str:
    return re.sub(r"<br ?/?>", "\n", text).replace("<b>", "").replace("</b>", "")


def _plain(text: str) -> str:
    """As matplotlib draws it, to which $ begins mathematics."""
    return unescape(_words(text)).replace("$", r"\$")


def _color(text: str | None) -> Any:
    """Plotly's "#3f86d8", "#3f86d82a" or "rgba(128, 128, 128, 0.25)" as matplotlib has it."""
    if text and text.startswith("rgb"):
        parts = [float(part) for part in re.findall(r"[\d.]+", text)]
        return (*(part / 255 for part in parts[:3]), *(parts[3:] or [1.0]))
    return to_rgba(text or "#7f7f7f")
