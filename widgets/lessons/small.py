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


def show(runs: Mapping[tuple[str, int], RunFolder]) -> None:
    """Curves and buffers of both arms, with a list of capacities."""
    teacher = teachers.load("digits")
    held = {key: read(folder, teacher) for key, folder in runs.items()}
    capacities = sorted({capacity for _, capacity in held})
    ladder = recorded()
    choices = [(f"{each} images", each) for each in capacities]
    Explorer(lambda chosen: figure(held, ladder, chosen), "the buffer holds", choices, capacities[0])


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
    held: Mapping[tuple[str, int], Held], ladder: Mapping[str, Mapping[int, list[float]]], capacity: int
) -> go.Figure:
    """Accuracy by round and class histogram at one capacity, accuracy by capacity, and images of SSD-KD's buffer."""
    drawn = make_subplots(
        rows=2, cols=3, specs=[[{}, {}, {}], [{"colspan": 3}, None, None]], row_heights=[0.56, 0.44],
        vertical_spacing=0.24, horizontal_spacing=0.09, subplot_titles=[
            f"accuracy, {capacity} images", f"the buffer at the end, {capacity} images", "last accuracy by capacity",
            f"from SSD-KD's {capacity} images, with the teacher's class and confidence",
        ],
    )  # fmt: skip
    arms = list(dict.fromkeys(arm for arm, _ in held))
    every = sorted({each for _, each in held})
    for number, arm in enumerate(arms):
        found, color = held[arm, capacity], drawing.color_of(number)
        rounds = range(1, len(found.accuracies) + 1)
        drawn.add_trace(drawing.line(arm, rounds, found.accuracies, color), row=1, col=1)
        shares = np.asarray(found.counts, np.float32) / max(1, sum(found.counts))
        bars = go.Bar(x=np.arange(len(shares)), y=shares, marker_color=color, legendgroup=arm, showlegend=False)
        drawn.add_trace(bars, row=1, col=2)
        last = [held[arm, each].accuracies[-1] for each in every]
        drawn.add_trace(drawing.line(arm, every, last, color, showlegend=False), row=1, col=3)
        if by_capacity := ladder.get(arm):
            drawn.add_trace(_recorded_line(f"{arm}, recorded longer runs", by_capacity, color), row=1, col=3)
    chosen = held["SSD-KD", capacity]
    drawing.add_strip(drawn, 2, 1, chosen.images, ["largest loss", "smallest loss"], (), chosen.classes,
                      chosen.confidences)  # fmt: skip
    drawn.add_vline(capacity, line={"color": TEXT, "width": 1, "dash": "dot"}, row=1, col=3)
    drawn.update_xaxes(title_text="round", tickformat="d", row=1, col=1)
    drawn.update_xaxes(title_text="class the teacher sees", dtick=1, row=1, col=2)
    drawn.update_xaxes(title_text="images in the buffer", type="log", tickvals=every, row=1, col=3)
    drawn.update_yaxes(title_text="fraction of digits", range=[0, 1.03], row=1, col=1)
    drawn.update_yaxes(title_text="share of the buffer", rangemode="tozero", row=1, col=2)
    drawn.update_yaxes(title_text="fraction of digits", range=[0, 1.03], row=1, col=3)
    return drawing.finished(drawn, 640)


def _recorded_line(name: str, by_capacity: Mapping[int, list[float]], color: str) -> go.Scatter:
    means = [statistics.mean(values) for values in by_capacity.values()]
    deviations = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in by_capacity.values()]
    look = {"line": {"color": color, "width": 1, "dash": "dash"}, "error_y": {"array": deviations, "thickness": 1}}
    return drawing.line(name, list(by_capacity), means, color, marker_symbol="circle-open", **look)
