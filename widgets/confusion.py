"""Which class is taken for which: an examination in, a plotly figure out; no file is read here, no widget known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from dfkd_lab.runs import Examination
from dfkd_lab.runs.examination import Confusion
from widgets.class_figures import FADING, SCALE, axis_names
from widgets.figures import COLORS, EMPTY, TEXT, themed

NOT_EXAMINED = "Not examined yet: press the button below this figure."
MOST_SHOWN = 100
"""Classes that are drawn; of more, those with the most confusions."""
MOST_NAMED, MOST_WRITTEN = 20, 12
"""Classes up to which each has its name at the axes, and each cell says its count."""
TOO_LONG = 10_000
"""A count that is wider than a cell, of pixels say."""
HEIGHT, HEIGHT_OF_TWO = 360, 560
"""In px, with one matrix beside the bars, and with two below them."""
SHORT, LONGEST = 4, 10
"""Letters of a name up to which it needs no room of its own, and beyond which an axis has its beginning alone."""


@dataclass(frozen=True)
class Part:
    """A confusion matrix that is drawn."""

    matrix: Confusion
    rows: str
    """What its rows are."""
    images: str
    """What it was counted on."""
    right: str
    """What its diagonal is."""


def confusions(found: Examination | None, begun: bool = True) -> go.Figure:
    """Bars of what is right by class, and a heat map a confusion matrix; cells without a count show the page.

    Args:
        found: What was examined, or None.
        begun: Whether the run has a round.
    """
    parts = _parts(found)
    shown = most_confused([part.matrix for part in parts])
    names = [] if found is None else axis_names(found.class_names, shown)
    left_out = found is not None and len(found.class_names) > len(shown)
    titles = [f"the {len(shown)} classes most confused" if left_out else "by class" if parts else ""]
    titles += [part.images for part in parts]
    many = len(names) > MOST_NAMED
    slanted = not many and any(len(name) > SHORT for name in names)
    figure = _panels(titles, slanted)
    written = len(shown) <= MOST_WRITTEN and all(part.matrix.counts.max() < TOO_LONG for part in parts)
    for place, part in enumerate(parts):
        if place == 0 or not many:  # of many classes two bars each are none that can be seen
            figure.add_trace(_bars(part, shown, names, COLORS[place]), row=1, col=1)
        at = {"row": 2, "col": place + 1} if len(parts) > 1 else {"row": 1, "col": 2}
        figure.add_trace(_heat_map(part, shown, names, written), **at)
        figure.update_yaxes(**_classes(part.rows, names), autorange="reversed", **at)
        figure.update_xaxes(**_classes("student", names), **at)
    figure.update_xaxes(**_classes("class" if parts else "", names), row=1, col=1)
    figure.update_yaxes(title_text=_unit(found) if parts else "", rangemode="tozero", row=1, col=1)
    height, right = HEIGHT_OF_TWO if len(parts) > 1 else HEIGHT, 12 if written else 70
    themed(figure, height, labels=bool(parts), margin={"l": 56, "r": right, "t": 40, "b": 100}, barmode="group")
    figure.update_xaxes(showgrid=False, tickangle=-45 if slanted else None)
    if len(parts) > 1:
        figure.update_xaxes(tickangle=None, autotickangles=[0, -45], row=1, col=1)
    figure.update_annotations(font={"color": TEXT, "size": 12})
    note = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.75, "showarrow": False}
    text = "" if parts else NOT_EXAMINED if begun else EMPTY
    figure.add_annotation(text=text, font={"color": TEXT, "size": 14}, **note)
    if not written:
        _name_shares(figure)
    return figure.update_layout(legend={"yref": "container", "y": 0, "yanchor": "bottom"})


def _panels(titles: Sequence[str], slanted: bool) -> go.Figure:
    """The bars beside one matrix; of two, above them, for three beside each other have no room for numbers."""
    if len(titles) < 3:
        gap = 0.15 if slanted else 0.1
        return make_subplots(rows=1, cols=len(titles), subplot_titles=titles, horizontal_spacing=gap)
    rows = [[{"colspan": 2}, None], [{}, {}]]
    sizes = {"row_heights": [0.27, 0.73], "vertical_spacing": 0.22, "horizontal_spacing": 0.22 if slanted else 0.12}
    return make_subplots(rows=2, cols=2, specs=rows, subplot_titles=titles, **sizes)


def _name_shares(figure: go.Figure) -> None:
    """A color bar beside the last matrix."""
    low, high = list(figure.select_yaxes())[-1].domain or (0.0, 1.0)
    bar = {"thickness": 8, "x": 1.01, "xpad": 4, "ypad": 0, "y": (low + high) / 2, "len": high - low}
    title = {"text": "share of the row", "side": "right"}
    figure.data[-1].update(showscale=True, colorbar={**bar, "title": title, "tickvals": [0, 0.5, 1], "outlinewidth": 0})


def most_confused(matrices: Sequence[Confusion], most: int = MOST_SHOWN) -> list[int]:
    """The classes, in their order, that are drawn: all, or those with the most confusions of the first matrix."""
    if not matrices:
        return []
    counts = matrices[0].counts
    wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diag()
    return sorted(torch.argsort(wrong, descending=True, stable=True)[:most].tolist())


def _classes(title: str, names: Sequence[str]) -> dict[str, object]:
    """An axis with a place for each class; of many the names are where the pointer rests."""
    axis: dict[str, object] = {"type": "category", "title_text": title, "title_standoff": 4}
    if len(names) > MOST_NAMED:
        return {**axis, "title_text": f"{title}, {len(names)} classes", "tickvals": []}
    shortened = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in map(unescape, names)]
    return {**axis, "tickvals": list(names), "ticktext": [escape(name, quote=False) for name in shortened]}


def _parts(found: Examination | None) -> list[Part]:
    if found is None:
        return []
    parts = []
    if found.evaluation is not None:
        parts.append(Part(found.evaluation, "label", "evaluation images", "right"))
    if found.synthetic is not None:
        parts.append(Part(found.synthetic, "teacher", "synthetic images", "agreement"))
    return parts


def _unit(found: Examination | None) -> str:
    return "share of pixels" if found is not None and found.task == "segmentation" else "share of images"


def _bars(part: Part, shown: Sequence[int], names: Sequence[str], color: str) -> go.Bar:
    shares, sums = part.matrix.by_class, part.matrix.counts.sum(1).tolist()
    values = np.asarray([np.nan if (value := shares[place]) is None else value for place in shown], np.float32)
    return go.Bar(
        x=names,
        y=values,
        name=f"{part.right}, {part.images}",
        marker_color=color,
        showlegend=True,
        customdata=[sums[place] for place in shown],
        hovertext=names,
        hovertemplate=f"%{{hovertext}}: {part.right} %{{y:.3f}} of %{{customdata:,}}<extra>{part.images}</extra>",
    )


def _heat_map(part: Part, shown: Sequence[int], names: Sequence[str], written: bool) -> go.Heatmap:
    """Colors are shares of a row, so that a small class is seen as well as a large one; counts are whole."""
    counts = part.matrix.counts.numpy()[np.ix_(shown, shown)]
    sums = part.matrix.counts.sum(1).numpy()[list(shown)][:, None]
    shares = np.where(counts > 0, counts / np.maximum(sums, 1), np.nan).astype(np.float32)
    text = {"text": np.where(counts > 0, counts.astype(str), "").tolist(), "texttemplate": "%{text}"}
    text["textfont"] = {"color": "#000000"}  # at least 5.5 : 1 on every color of the scale, whatever the page's
    if len(shown) <= MOST_NAMED:  # where the axes may have but the beginning of a name
        who, hovertext = "%{hovertext}", [[f"{part.rows} {a}, student {b}" for b in names] for a in names]
    else:
        who, hovertext = f"{part.rows} %{{y}}, student %{{x}}", None
    gap = 1 if len(shown) <= MOST_NAMED else 0
    return go.Heatmap(
        x=names,
        y=names,
        z=shares,
        name=f"{part.rows} by student, {part.images}",
        zmin=0,
        zmax=1,
        colorscale=SCALE if written else FADING,
        showscale=False,
        xgap=gap,
        ygap=gap,
        hoverongaps=False,
        customdata=counts.astype(np.float64),
        hovertext=hovertext,
        hovertemplate=f"{who}<br>%{{customdata:,}}, %{{z:.3f}} of the row<extra></extra>",
        **(text if written else {}),
    )
