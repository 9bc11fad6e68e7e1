"""Lesson 22: forgetting and replay. One game with three memories, over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dfkd_lab import RunFolder, teachers
from dfkd_lab.engine import metrics
from widgets.figures import by_round
from widgets.lessons import drawing
from widgets.lessons.explorer import Explorer
from widgets.lessons.lesson_runs import accuracies_of

Values = Mapping[tuple[str, int], Sequence[float]]


def so_far(name: str) -> Callable[[Sequence[float]], list[float]]:
    """A figure of :func:`~dfkd_lab.measure.expected` over the rounds up to each."""
    return lambda values: [metrics.expected(values[: end + 1])[name] for end in range(len(values))]


def falls(values: Sequence[float]) -> list[float]:
    """What has been lost so far in all: the sum of the falls from one round to the next."""
    lost = (max(0.0, before - after) for before, after in itertools.pairwise(values))
    return list(itertools.accumulate(lost, initial=0.0))


METRICS: dict[str, tuple[str, Callable[[Sequence[float]], Sequence[float]]]] = {
    "accuracy": ("fraction of digits", lambda values: values),
    "μ, mean accuracy so far": ("fraction of digits", so_far("mu")),
    "σ, deviation of accuracy so far": ("fraction of digits", so_far("sigma")),
    "falls of accuracy, summed up": ("fraction of digits", falls),
}
BAND = "2a"
"""The opacity of a band, behind the color's six digits."""
SECONDS = "seconds so far"
LOOK_BACK = "the last student on each round's images"


def show(runs: Mapping[tuple[str, int], RunFolder]) -> None:
    """The curve of every memory, with a list of metrics."""
    accuracies = {key: accuracies_of(folder) for key, folder in runs.items()}
    measured = {name: {key: metric(each) for key, each in accuracies.items()} for name, (_, metric) in METRICS.items()}
    units = {name: unit for name, (unit, _) in METRICS.items()}
    measured[SECONDS] = {key: [report.cost.seconds for report in folder.reports()] for key, folder in runs.items()}
    units[SECONDS] = "seconds, summed up"
    rounds = {name: list(range(1, 1 + min(map(len, accuracies.values())))) for name in measured}
    measured[LOOK_BACK] = {key: look_back(folder) for key, folder in runs.items()}
    units[LOOK_BACK] = "agreement, fraction of images"
    rounds[LOOK_BACK] = sorted(next(iter(runs.values())).samples())
    draw = lambda name: figure(measured[name], rounds[name], name, units[name])  # noqa: E731
    Explorer(draw, "metric", [(name, name) for name in measured], "accuracy")


def figure(values: Values, rounds: Sequence[int], name: str, unit: str) -> go.Figure:
    """The mean over seeds by round, a curve a memory, with a band from the lowest to the highest seed."""
    drawn = go.Figure()
    for number, arm in enumerate(dict.fromkeys(arm for arm, _ in values)):
        seeds = np.asarray([each for (other, _), each in values.items() if other == arm], np.float32)
        around = np.concatenate([seeds.max(0), seeds.min(0)[::-1]])
        band: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "fill": "toself"}
        band |= {"fillcolor": drawing.color_of(number) + BAND, "showlegend": False, "hoverinfo": "skip"}
        drawn.add_trace(
            go.Scatter(x=np.asarray([*rounds, *rounds[::-1]], np.float32), y=around, legendgroup=arm, **band)
        )
        label = f"{arm} (mean and range of {len(seeds)} seeds)" if len(seeds) > 1 else f"{arm} (one seed)"
        drawn.add_trace(drawing.line(label, rounds, seeds.mean(0).tolist(), drawing.color_of(number), legendgroup=arm))
    drawn.update_layout(yaxis_title=unit, title={"text": name, "font": {"size": 14}, "x": 0.06})
    drawn.update_xaxes(**by_round(min(rounds), max(rounds)))
    drawing.finished(drawn, 440)
    return drawn.update_layout(hovermode="x unified", legend_y=-0.2, margin_b=80)


def look_back(folder: RunFolder) -> list[float]:
    """By round, how often the last student and the teacher agree on the images that were distilled then."""
    teacher, student = teachers.load("digits"), teachers.load(str(folder.path / "student.safetensors"))
    shares = []
    for _, path in sorted(folder.samples().items()):
        images = drawing.tiles(path, teacher.card.classes)
        images = images[drawing.filled(images)]
        same = drawing.seen_as(teacher.model, images)[0] == drawing.seen_as(student.model, images)[0]
        shares.append(float(same.float().mean()))
    return shares
