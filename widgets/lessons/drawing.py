"""Strips of small images with words below each, as plotly traces; and the look that all lessons share."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image
from torch import Tensor

from widgets import figures
from widgets.figures import COLORS, TEXT
from widgets.status import AMBER

BETWEEN = 0.085
"""Room between two panels in a row, as a share of the width."""
GAP, WORDS = 2, 6
"""Pixels between two images, and below each for its words."""
KEY, LEADER, APART, HIGHEST = 0.5, 0.08, 0.075, 0.96
"""Of names beside curves: room for them and for the lines to them, as shares of the x axis; from name to name, and the
place of the highest, of the y axis."""


def tiles(path: Path, classes: int) -> Tensor:
    """The images [K, columns, H, W] in [0, 1] of a sample grid; an empty place is an even grey."""
    grid = torch.from_numpy(np.asarray(Image.open(path).convert("L")).astype(np.float32)) / 255
    height = (grid.shape[0] + 1) // classes
    padded = torch.nn.functional.pad(grid, (0, 1, 0, 1))
    return padded.unfold(0, height, height).unfold(1, height, height)[:, :, :-1, :-1]


def filled(images: Tensor) -> Tensor:
    """Which places [...] of ``images`` [..., H, W] are not an even grey."""
    flat = images.flatten(-2)
    return flat.amax(-1) > flat.amin(-1)


@torch.no_grad()
def seen_as(model: torch.nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The class [...] a network sees in each of ``images`` [..., H, W], and its probability [...]."""
    places = images.shape[:-2]
    probability, class_ = model(images.reshape(-1, 1, *images.shape[-2:])).softmax(1).max(1)
    return class_.reshape(places), probability.reshape(places)


def add_strip(
    figure: go.Figure,
    row: int,
    col: int,
    images: Tensor,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    classes: Tensor | None = None,
    confidences: Tensor | None = None,
    target: Tensor | None = None,
) -> None:
    """Draw ``images`` [R, C, H, W]; below each, if given, class and confidence [R, C], amber off target."""
    _, _, height, width = images.shape
    words = WORDS if classes is not None else 0
    across, down = width + GAP, height + GAP + words
    figure.add_trace(go.Image(source=_source(images, across, down), hoverinfo="skip"), row=row, col=col)
    x = np.arange(images.shape[1]) * across + (width - 1) / 2
    y = np.arange(images.shape[0]) * down + (height - 1) / 2
    if classes is not None and confidences is not None:
        right = torch.ones_like(classes, dtype=torch.bool) if target is None else classes == target
        pairs = zip(classes.flatten().tolist(), confidences.flatten().tolist(), strict=True)
        words_trace = go.Scatter(
            x=np.tile(x, len(y)).astype(np.float32),
            y=np.repeat(y + height / 2 + words / 2, len(x)).astype(np.float32),
            text=[f"{class_} {confidence:.2f}" for class_, confidence in pairs],
            textfont={"size": 11, "color": [TEXT if each else AMBER for each in right.flatten().tolist()]},
            mode="text",
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_trace(words_trace, row=row, col=col)
    figure.update_xaxes(tickvals=x if columns else [], ticktext=columns, side="top", row=row, col=col, **_BARE)
    # Given, because the words would else widen it.
    ends = [images.shape[0] * down - 0.5, -0.5]
    figure.update_yaxes(tickvals=y, ticktext=rows, ticklabelstandoff=6, range=ends, row=row, col=col, **_BARE)
    figure.update_xaxes(range=[-0.5, images.shape[1] * across - 0.5], constrain="domain", row=row, col=col)
    figure.update_yaxes(constrain="domain", row=row, col=col)


def line(name: str, x: Sequence[Any], y: Sequence[float | None], color: str, **more: Any) -> go.Scatter:
    """A curve through a few points; what is missing is a gap."""
    values = np.asarray([np.nan if each is None else each for each in y], np.float32)
    look = {"mode": "lines+markers", "line": {"color": color, "width": 2}, "marker": {"size": 5}, "legendgroup": name}
    return go.Scatter(x=np.asarray(x, np.float32), y=values, name=name, **{**look, **more})


def add_key(
    figure: go.Figure,
    ends: Mapping[str, tuple[float, str]],
    x: tuple[float, float],
    *,
    row: int,
    col: int,
    log: bool = False,
) -> None:
    """Write the name of each curve beside its end, where the x axis is made wider for it.

    A line leads to each name, as those of curves that end together are moved apart.

    Args:
        figure: Whose y axis there goes from 0 to 1.
        ends: By name, how high the curve ends, and its color.
        x: Where the curves begin and end.
        row: Of the panel.
        col: Likewise.
        log: Whether its x axis is logarithmic.
    """
    begin, end = np.log10(x) if log else x
    wide = end - begin
    leader = np.asarray([end, end + LEADER * wide])
    places = apart([height for height, _ in ends.values()])
    for (name, (height, color)), place in zip(ends.items(), places, strict=True):
        named = go.Scatter(
            x=10**leader if log else leader, y=[height, place], text=["", name], mode="lines+text",
            textposition="middle right", line={"color": color, "width": 1}, hoverinfo="skip", showlegend=False,
            cliponaxis=False,
        )  # fmt: skip
        figure.add_trace(named, row=row, col=col)
    figure.update_xaxes(range=[begin - 0.04 * wide, end + KEY * wide], row=row, col=col)


def apart(heights: Sequence[float]) -> list[float]:
    """Where names stand: beside their curves' ends, or as far below as the name above needs."""
    places, above = list(heights), HIGHEST + APART
    for index in sorted(range(len(heights)), key=lambda each: -heights[each]):
        above = places[index] = min(heights[index], above - APART)
    return places


def domain(panel: int, panels: int) -> list[float]:
    """From where to where one of ``panels`` in a row goes, as shares of the width, with room for its title between."""
    wide = (1 + BETWEEN) / panels
    return [panel * wide, (panel + 1) * wide - BETWEEN]


def add_title(figure: go.Figure, text: str, *, row: int, col: int) -> None:
    """Words above a panel, wherever it was moved."""
    place = {"xref": "x domain", "x": 0.5, "yref": "y domain", "y": 1.02, "yanchor": "bottom"}
    figure.add_annotation(text=text, showarrow=False, row=row, col=col, **place)


def color_of(number: int) -> str:
    """The color of the arm with this number."""
    return COLORS[number % len(COLORS)]


def finished(figure: go.Figure, height: int) -> go.Figure:
    """The look of all figures, with the legend below."""
    margin = {"l": 60, "r": 16, "t": 50, "b": 50}
    figures.themed(figure, height, margin=margin, legend={"yanchor": "top", "y": -0.1}, hovermode="closest")
    return figure.update_annotations(font={"color": TEXT, "size": 13})


_BARE = {"showgrid": False, "zeroline": False, "showline": False, "ticks": ""}


def _source(images: Tensor, across: int, down: int) -> str:
    """The images as one PNG with transparent gaps, as a data address."""
    rows, columns, height, width = images.shape
    canvas = np.zeros((rows * down, columns * across, 2), np.uint8)
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    for row in range(rows):
        for column in range(columns):
            place = canvas[row * down : row * down + height, column * across : column * across + width]
            place[..., 0], place[..., 1] = pixels[row, column], 255
    file = io.BytesIO()
    Image.fromarray(canvas, "LA").save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
