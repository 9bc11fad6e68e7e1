"""Lesson 23: small and well chosen. What a buffer of a few images holds, and what the student makes of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from dfkd_lab import RunFolder, teachers
from widgets.figures import TEXT
from widgets.lessons import drawing
from widgets.lessons.explorer import Explorer
from widgets.lessons.lesson_runs import accuracies_of, stored

LADDER = Path(__file__).parents[2] / "benchmarks" / "results" / "ladder.json"
RECORDED = {
    "uniform": {14: "uniform, 14 images", 135: "uniform, 135 images", 1000: "uniform small buffer"},
    "SSD-KD": {14: "SSD-KD, 14 images", 135: "SSD-KD, 135 images", 1000: "+ priority (SSD-KD)"},
}
"""The rows of the recorded ladder by arm and capacity."""
SHOWN = 10


@dataclass(frozen=True)
class Held:
    """What a run's buffer holds at its end: a count a class, and its images [2, n, H, W], hardest and easiest."""

    counts: list[int]
    images: Tensor
    classes: Tensor
    confidences: Tensor
    accuracies: list[float]


def show(runs: Mapping[tuple[str, int], RunFolder], few: Mapping[tuple[str, int], RunFolder]) -> None:
    """Curves and buffers of both arms, with a list of capacities; ``few`` are runs by arm and seed with few steps."""
    teacher = teachers.load("digits")
    held = {key: read(folder, teacher) for key, folder in runs.items()}
    short = {key: accuracies_of(folder)[-1] for key, folder in few.items()}
    steps = next(iter(few.values())).reports()[-1].cost.s_steps
    capacities = sorted({capacity for _, capacity in held})
    ladder = recorded()
    choices = [(f"{each} images", each) for each in capacities]
    Explorer(lambda chosen: figure(held, ladder, short, steps, chosen), "the buffer holds", choices, capacities[0])


def read(folder: RunFolder, teacher: teachers.Teacher) -> Held:
    """A finished run's buffer; hardest is where the student's last loss was largest, or as stored without priority."""
    kept = stored(folder)
    images = kept["images"][:, 0]
    order = kept["priorities"].argsort(descending=True) if "priorities" in kept else torch.arange(len(images))
    shown = min(SHOWN, len(images) // 2)
    images = torch.stack([images[order[:shown]], images[order[-shown:].flip(0)]])
    classes, confidences = drawing.seen_as(teacher.model, images)
    counts = kept["predicted"].bincount(minlength=teacher.card.classes).tolist()
    return Held(counts, images, classes, confidences, accuracies_of(folder))


def recorded(path: Path = LADDER) -> dict[str, dict[int, list[float]]]:
    """Last accuracies of the recorded longer runs by arm and capacity; nothing where there is no record."""
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text())
    found = {arm: {n: [run["last"] for run in rows.get(row, [])] for n, row in named.items()}
             for arm, named in RECORDED.items()}  # fmt: skip
    return {arm: {n: values for n, values in by_n.items() if values} for arm, by_n in found.items()}


def figure(
    held: Mapping[tuple[str, int], Held],
    ladder: Mapping[str, Mapping[int, list[float]]],
    short: Mapping[tuple[str, int], float],
    steps: int,
    capacity: int,
) -> go.Figure:
    """Accuracy and class histogram at one capacity, accuracy by capacity, images, and accuracy after few steps.

    Args:
        held: By arm and capacity.
        ladder: As :func:`recorded` gives it.
        short: The last accuracy after few student steps, by arm and seed.
        steps: How many.
        capacity: What is shown.
    """
    seeds = len({seed for _, seed in short})
    drawn = make_subplots(
        rows=2, cols=3, specs=[[{}, {}, {}], [{"colspan": 2}, None, {}]], row_heights=[0.54, 0.46],
        vertical_spacing=0.2, horizontal_spacing=0.1, subplot_titles=[
            f"accuracy, {capacity} images", f"the buffer at the end, {capacity} images", "last accuracy by capacity",
            f"from SSD-KD's {capacity} images, with the teacher's class and confidence",
            f"{steps} student steps, {seeds} seed{'s' * (seeds > 1)}",
        ],
    )  # fmt: skip
    _add_curves(drawn, held, capacity)
    _add_ladder(drawn, held, ladder, capacity)
    chosen = held["SSD-KD", capacity]
    drawing.add_strip(drawn, 2, 1, chosen.images, ["largest loss", "smallest loss"], (), chosen.classes,
                      chosen.confidences)  # fmt: skip
    _add_few(drawn, short)
    share = {"range": [0, 1], "dtick": 0.2}
    drawn.update_yaxes(title_text="fraction of digits", **share, row=1, col=1)
    drawn.update_yaxes(title_text="share of the buffer", rangemode="tozero", row=1, col=2)
    drawn.update_yaxes(title_text="fraction of digits", **share, row=1, col=3)
    drawn.update_yaxes(title_text="last accuracy", **share, row=2, col=3)
    return drawing.finished(drawn, 640).update_layout(margin_r=72)


def _add_curves(drawn: go.Figure, held: Mapping[tuple[str, int], Held], capacity: int) -> None:
    """Accuracy by round with the arms' names, and what the buffers hold by class."""
    found = {arm: each for (arm, held_by), each in held.items() if held_by == capacity}
    rounds = 1, max(len(each.accuracies) for each in found.values())
    for number, (arm, each) in enumerate(found.items()):
        color = drawing.color_of(number)
        curve = drawing.line(arm, range(1, len(each.accuracies) + 1), each.accuracies, color, showlegend=False)
        drawn.add_trace(curve, row=1, col=1)
        shares = np.asarray(each.counts, np.float32) / max(1, sum(each.counts))
        bars = go.Bar(x=np.arange(len(shares)), y=shares, name=f"{arm}, by class", marker_color=color, showlegend=False)
        drawn.add_trace(bars, row=1, col=2)
    ends = {arm: (each.accuracies[-1], drawing.color_of(number)) for number, (arm, each) in enumerate(found.items())}
    drawing.add_key(drawn, ends, rounds, row=1, col=1)
    step = max(1, rounds[1] // 4)
    drawn.update_xaxes(title_text="round", tickvals=list(range(step, rounds[1] + 1, step)), row=1, col=1)
    drawn.update_xaxes(title_text="class the teacher sees", dtick=1, row=1, col=2)


def _add_ladder(
    drawn: go.Figure,
    held: Mapping[tuple[str, int], Held],
    ladder: Mapping[str, Mapping[int, list[float]]],
    capacity: int,
) -> None:
    """The last accuracy by capacity; dashed that of the recorded longer runs."""
    every = sorted({each for _, each in held})
    ends = {}
    for number, arm in enumerate(dict.fromkeys(arm for arm, _ in held)):
        color, last = drawing.color_of(number), [held[arm, each].accuracies[-1] for each in every]
        drawn.add_trace(drawing.line(arm, every, last, color, showlegend=False), row=1, col=3)
        ends[arm] = last[-1], color
        if by_capacity := ladder.get(arm):
            longer = _recorded_line(f"{arm}, longer", by_capacity, color)
            drawn.add_trace(longer, row=1, col=3)
            ends[longer.name] = float(longer.y[-1]), color
    drawing.add_key(drawn, ends, (every[0], every[-1]), row=1, col=3, log=True)
    drawn.add_vline(capacity, line={"color": TEXT, "width": 1, "dash": "dot"}, row=1, col=3)
    drawn.update_xaxes(title_text="images in the buffer", type="log", tickvals=every, row=1, col=3)


def _add_few(drawn: go.Figure, short: Mapping[tuple[str, int], float]) -> None:
    """A dot a seed for each arm, and a line at their mean."""
    arms = list(dict.fromkeys(arm for arm, _ in short))
    for number, arm in enumerate(arms):
        last = [value for (other, _), value in short.items() if other == arm]
        color = drawing.color_of(number)
        dots = drawing.line(f"{arm}, each seed", [number] * len(last), last, color, mode="markers", showlegend=False,
                            marker={"size": 8})  # fmt: skip
        mean = drawing.line(f"{arm}, mean", [number - 0.3, number + 0.3], [statistics.mean(last)] * 2, color,
                            mode="lines", showlegend=False)  # fmt: skip
        drawn.add_traces([dots, mean], rows=2, cols=3)
    drawn.update_xaxes(tickvals=list(range(len(arms))), ticktext=arms, range=[-0.6, len(arms) - 0.4], tickangle=-30,
                       row=2, col=3)  # fmt: skip


def _recorded_line(name: str, by_capacity: Mapping[int, list[float]], color: str) -> go.Scatter:
    means = [statistics.mean(values) for values in by_capacity.values()]
    deviations = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in by_capacity.values()]
    look = {"line": {"color": color, "width": 1, "dash": "dash"}, "error_y": {"array": deviations, "thickness": 1}}
    return drawing.line(name, list(by_capacity), means, color, showlegend=False, marker_symbol="circle-open", **look)
