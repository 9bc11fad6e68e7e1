"""A picture has what the figure has, where it has it, without a browser."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image
from plotly.subplots import make_subplots

from dfkd_lab import RunFolder
from dfkd_lab.engine.report import Report
from widgets import figures, pictures
from widgets.lessons import drawing
from widgets.memory_figure import buffer


def pixels(figure: go.Figure) -> Any:
    """[H, W, 4] in 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(pictures.png(figure))).convert("RGBA")).astype(int)


def where(drawn: Any, color: str) -> Any:
    """The rows and columns [N, 2] of the pixels of one color."""
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return np.argwhere((abs(drawn[..., :3] - wanted).max(-1) < 12) & (drawn[..., 3] > 200))


def framed(*traces: Any, **layout: Any) -> go.Figure:
    """A figure of 900 by 400 pixels whose plotted area begins 100 from each side."""
    return figures.themed(go.Figure(traces), 400, margin={"l": 100, "r": 100, "t": 100, "b": 100}, **layout)


def test_a_line_is_where_the_axes_put_it() -> None:
    line = go.Scatter(x=[0, 10], y=[0.5, 0.5], mode="lines", line={"color": "#ff0000"}, showlegend=False)
    figure = framed(line).update_xaxes(range=[0, 20]).update_yaxes(range=[0, 1])
    found = where(pixels(figure), "#ff0000")
    assert set(found[:, 0]) <= {198, 199, 200, 201}, "half way between 100 and 300"
    assert (found[:, 1].min(), found[:, 1].max()) == pytest.approx((100, 450), abs=3)


def test_a_logarithmic_axis_and_a_panel_beside_another_are_kept() -> None:
    figure = make_subplots(rows=1, cols=2, column_widths=[0.5, 0.5], horizontal_spacing=0.0)
    for col, color in ((1, "#ff0000"), (2, "#0000ff")):
        figure.add_trace(go.Scatter(x=[1, 100], y=[10, 10], line={"color": color}, showlegend=False), row=1, col=col)
    figures.themed(figure, 400, margin={"l": 100, "r": 100, "t": 100, "b": 100})
    figure.update_yaxes(type="log", range=[0, 2])
    drawn = pixels(figure)
    left, right = where(drawn, "#ff0000"), where(drawn, "#0000ff")
    assert left[:, 1].max() <= 452 <= right[:, 1].min() + 4
    assert np.median(left[:, 0]) == pytest.approx(200, abs=2)


def test_bars_bands_stacks_images_and_text_are_drawn() -> None:
    noise = torch.rand(2, 3, 8, 8)
    strip = make_subplots(rows=1, cols=1)
    drawing.add_strip(strip, 1, 1, noise, ["a", "b"], ["x", "y", "z"], torch.zeros(2, 3).long(), torch.rand(2, 3))
    gray = pixels(figures.themed(strip, 400))
    assert (abs(gray[..., 0] - gray[..., 1]).max(-1) == 0).any()
    bars = where(pixels(framed(go.Bar(x=[0, 1], y=[1, 2], marker_color="#00aa00"))), "#00aa00")
    assert len(bars) > 10_000
    band = go.Scatter(x=[0, 1, 1, 0], y=[0, 0, 1, 1], fill="toself", fillcolor="#aa00aa", mode="none")
    assert len(where(pixels(framed(band)), "#aa00aa")) > 10_000
    stack = [go.Scatter(x=[0, 1], y=[1, 1], stackgroup="s", line_color=color) for color in ("#ff0000", "#0000ff")]
    drawn = pixels(framed(*stack, showlegend=False))
    assert where(drawn, "#0000ff")[:, 0].mean() < where(drawn, "#ff0000")[:, 0].mean() - 50, "one upon the other"
    heat = go.Heatmap(z=[[0, 1]], colorscale=[[0, "#000000"], [1, "#ff0000"]], showscale=False)
    assert len(where(pixels(framed(heat)), "#ff0000")) > 1000


@pytest.mark.parametrize("count", [1, 3, 9])
def test_no_name_of_a_legend_is_cut_off(count: int) -> None:
    traces = [go.Scatter(x=[0], y=[0], name="a name of some length", line_color="#ff0000", mode="lines")] * count
    drawn = pixels(framed(*traces, legend={"yanchor": "top", "y": -0.45}))
    assert drawn[0, :, 3].max() == drawn[-1, :, 3].max() == drawn[:, 0, 3].max() == drawn[:, -1, 3].max() == 0
    assert len(where(drawn, "#ff0000")) > 20 * count


@pytest.mark.slow
@pytest.mark.parametrize("draw", [figures.curves, figures.health, figures.losses, figures.cost, buffer])
def test_every_figure_of_a_run_is_a_picture_also_before_its_first_point(
    finished: RunFolder, draw: Callable[[Sequence[Report]], go.Figure]
) -> None:
    full, empty = pixels(draw(finished.reports())), pixels(draw([]))
    for shape in (full.shape, empty.shape):
        assert shape[0] >= draw([]).layout.height
        assert shape[1] >= pictures.WIDTH
    assert (full[..., 3] > 0).sum() > 2000
    assert (empty[..., 3] > 0).sum() > 500, "the note that stands where no point is"
    assert len(pictures.png(draw(finished.reports()))) < 100_000


@pytest.mark.slow
def test_words_say_where_every_curve_ended(finished: RunFolder) -> None:
    reports = finished.reports()
    said = pictures.words(figures.curves(reports, 0.9))
    assert f"student accuracy: {reports[-1].accuracy:.4g} at round {reports[-1].round}" in said
    assert "No round is finished yet" in pictures.words(figures.curves([]))
    assert "student accuracy: no value yet" in pictures.words(figures.curves([]))
    counts = (reports[-1].memory or {}).get("classes") or []
    assert ", ".join(map(str, counts)) in pictures.words(buffer(reports))
