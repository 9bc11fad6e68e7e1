"""Lesson 20: what a teacher remembers. The same noise, inverted with one term more each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from dfkd_lab import RunFolder, data, teachers
from dfkd_lab.engine import metrics
from dfkd_lab.primitives.observer import Observer
from widgets.figures import TEXT
from widgets.lessons import drawing
from widgets.lessons.explorer import Explorer
from widgets.lessons.lesson_runs import stored

SHARES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
PANELS = {
    "bn_gap": ("batch-norm gap", "summed norm"),
    "confidence": ("teacher confidence", "mean probability"),
    "as_target": ("seen as the target class", "share of images"),
}


@dataclass(frozen=True)
class Inverted:
    """What one inversion came to: its images [N, H, W], and what the teacher says of them."""

    images: Tensor
    target: Tensor
    classes: Tensor
    confidences: Tensor
    figures: dict[str, float]


def milestones(steps: int) -> tuple[int, ...]:
    """Numbers of steps at which to look: the first step, some on the way, and the last."""
    return tuple(sorted({max(1, round(share * steps)) for share in SHARES}))


def show(runs: Mapping[tuple[str, int], RunFolder]) -> None:
    """Images and figures of every arm, with a slider over the steps."""
    teacher = teachers.load("digits").model
    observer = Observer(teacher, teacher)
    real = data.evaluation_set("digits")
    assert real is not None
    gap = metrics.health(observer, real.images)[0]["bn_gap"]
    found = {key: _inverted(observer, folder) for key, folder in runs.items()}
    steps = sorted({each for _, each in found})
    choices = [(str(each), each) for each in steps]
    Explorer(lambda chosen: figure(found, gap, chosen), "steps of inversion", choices, steps[-1], ordered=True)


def figure(found: Mapping[tuple[str, int], Inverted], real_gap: float, steps: int) -> go.Figure:
    """The images after ``steps`` steps, a row an arm, and below them three figures of every arm by steps."""
    arms = list(dict.fromkeys(arm for arm, _ in found))
    every = sorted({each for _, each in found})
    drawn = make_subplots(
        rows=2, cols=3, specs=[[{"colspan": 3}, None, None], [{}, {}, {}]], row_heights=[0.66, 0.34],
        vertical_spacing=0.1, horizontal_spacing=0.09, subplot_titles=["", *(title for title, _ in PANELS.values())],
    )  # fmt: skip
    first = [found[arm, steps] for arm in arms]
    columns = min(10, len(first[0].images))
    stack = lambda name: torch.stack([getattr(each, name)[:columns] for each in first])  # noqa: E731
    drawing.add_strip(
        drawn, 1, 1, stack("images"), arms, [f"target: {each}" for each in first[0].target[:columns].tolist()],
        stack("classes"), stack("confidences"), stack("target"),
    )  # fmt: skip
    for column, (name, (_, unit)) in enumerate(PANELS.items(), 1):
        for number, arm in enumerate(arms):
            values = [found[arm, each].figures[name] for each in every]
            curve = drawing.line(arm, every, values, drawing.color_of(number), showlegend=column == 1)
            drawn.add_trace(curve, row=2, col=column)
        drawn.update_yaxes(title_text=unit, rangemode="tozero", row=2, col=column)
        drawn.update_xaxes(title_text="steps", row=2, col=column)
        drawn.add_vline(steps, line={"color": TEXT, "width": 1, "dash": "dot"}, row=2, col=column)
    real = drawing.line("held-out digits", [every[0], every[-1]], [real_gap] * 2, TEXT, mode="lines", line_dash="dash")
    drawn.add_trace(real, row=2, col=1)
    return drawing.finished(drawn, 760)


def _inverted(observer: Observer, folder: RunFolder) -> Inverted:
    kept = stored(folder)
    images, target = kept["images"], kept["labels"]
    health, _ = metrics.health(observer, images)
    classes, confidences = drawing.seen_as(observer.teacher, images[:, 0])
    as_target = float((classes == target).float().mean())
    facts = {"bn_gap": health["bn_gap"], "confidence": health["confidence"], "as_target": as_target}
    return Inverted(images[:, 0], target, classes, confidences, facts)
