"""Lesson 24: asking for a class. What a conditional generator answers by round, and where both networks look."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor

from dfkd_lab import RunFolder, Session, teachers
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.primitives.synthesizers import NoiseGenerator
from dfkd_lab.runs.samples import sample_grid
from dfkd_lab.system.files import write_atomically
from widgets.figures import TEXT, by_round
from widgets.lessons import drawing
from widgets.lessons.explorer import Explorer
from widgets.lessons.lesson_runs import accuracies_of

EACH, SHOWN, ROWS = 10, 8, 5
"""Images drawn of each class, those shown, and the rounds shown."""


@dataclass(frozen=True)
class Answers:
    """The images [R, K, n, H, W] of ``rounds``, the teacher's class and confidence, and the student's accuracies.

    ``maps`` has a list for teacher and student, with the attention [K, H, W] after each stage.
    """

    rounds: list[int]
    images: Tensor
    classes: Tensor
    confidences: Tensor
    maps: dict[str, list[Tensor]]
    accuracies: list[float]


@torch.no_grad()
def keep(session: Session) -> None:
    """Ask the generator for every class, with the same noise in every round, and keep the images in the run folder."""
    source, classes = session.run.recipe.synthesizer, session.teacher.card.classes
    assert isinstance(source, NoiseGenerator)
    labels = torch.arange(classes).repeat(EACH)
    noise = torch.randn(len(labels), source.z_dim, generator=torch.Generator().manual_seed(0))
    device = session.device
    net = copy.deepcopy(source.net)  # asking would change the averages of the batch norms in the run's own
    images = net(noise.to(device), labels.to(device))
    png = io.BytesIO()
    sample_grid(Batch(images, predicted=labels.to(device)), classes, EACH).save(png, "png")
    place = targets(session.folder)
    place.mkdir(exist_ok=True)
    write_atomically(place / f"round_{session.run.round:07d}.png", png.getvalue())


def targets(folder: RunFolder) -> Path:
    """Where ``keep`` keeps its images."""
    return folder.path / "asked"


def show(runs: Mapping[str, RunFolder]) -> None:
    """The answers by round and the attention of both networks, with a list of classes."""
    (folder,) = runs.values()
    answers = read(folder)
    choices = [(str(each), each) for each in range(answers.images.shape[1])]
    Explorer(lambda chosen: figure(answers, chosen), "target class", choices, 3)


def read(folder: RunFolder) -> Answers:
    """The answers of a finished run, with what its teacher and its student make of them."""
    teacher, student = teachers.load("digits"), teachers.load(str(folder.path / "student.safetensors"))
    files = sorted(targets(folder).glob("round_*.png"))
    images = torch.stack([drawing.tiles(path, teacher.card.classes) for path in files])
    classes, confidences = drawing.seen_as(teacher.model, images)
    seen = Observer(teacher.model, student.model)(images[-1, :, :1], needs=frozenset({"maps"}))
    maps = {
        "teacher": [attention(each) for each in seen.maps],
        "student": [attention(each) for each in seen.student_maps],
    }
    rounds = [int(path.stem.removeprefix("round_")) for path in files]
    accuracies = accuracies_of(folder)
    return Answers(rounds, images, classes, confidences, maps, accuracies)


def attention(maps: Tensor) -> Tensor:
    """Where a stage is active: the mean square [N, H, W] over the channels of ``maps`` [N, C, H, W], of norm 1."""
    energy = maps.detach().square().mean(1)
    return F.normalize(energy.flatten(1)).view_as(energy)


def figure(answers: Answers, class_: int) -> go.Figure:
    """The images of one class by round, the maps of both networks for one of them, and how often it is the target."""
    stages = len(answers.maps["teacher"])
    drawn = make_subplots(
        rows=3, cols=2 + stages, column_widths=[0.52, *[0.48 / (1 + stages)] * (1 + stages)],
        specs=[[{"rowspan": 2}, *[{}] * (1 + stages)], [None, *[{}] * (1 + stages)],
               [{"colspan": 2 + stages}, *[None] * (1 + stages)]],
        row_heights=[0.34, 0.34, 0.32], vertical_spacing=0.09, horizontal_spacing=0.025,
        subplot_titles=[f"target class {class_}, the same noise by round", "image",
                        *(f"stage {stage}" for stage in range(1, 1 + stages)), *[""] * (1 + stages),
                        "share that is the target class, or the digit, by round"],
    )  # fmt: skip
    _add_answers(drawn, answers, class_)
    for row, (who, maps) in enumerate(answers.maps.items(), 1):
        drawing.add_strip(drawn, row, 2, answers.images[-1, class_, :1][None], [who])
        drawn.update_yaxes(tickangle=-90, row=row, col=2)
        for stage, each in enumerate(maps):
            _add_map(drawn, row, 3 + stage, each[class_])
    right = answers.classes == torch.arange(answers.classes.shape[1])[:, None]
    by_class = right.float().mean(2)
    mean = drawing.line(
        "all classes: the teacher sees the target class", answers.rounds, by_class.mean(1).tolist(), TEXT
    )
    drawn.add_trace(mean, row=3, col=1)
    this = drawing.line(
        f"class {class_}: the teacher sees the target class",
        answers.rounds,
        by_class[:, class_].tolist(),
        drawing.color_of(0),
    )
    drawn.add_trace(this, row=3, col=1)
    student = drawing.line("student's accuracy, on digits", answers.rounds, answers.accuracies, drawing.color_of(1))
    drawn.add_trace(student, row=3, col=1)
    drawn.update_xaxes(**by_round(min(answers.rounds), max(answers.rounds)), row=3, col=1)
    drawn.update_yaxes(title_text="share of images", range=[-0.03, 1.03], row=3, col=1)
    return drawing.finished(drawn, 720)


def _add_answers(drawn: go.Figure, answers: Answers, class_: int) -> None:
    rows = np.unique(np.linspace(0, len(answers.rounds) - 1, ROWS).round().astype(int)).tolist()
    pick = lambda values: values[rows, class_, :SHOWN]  # noqa: E731
    drawing.add_strip(
        drawn, 1, 1, pick(answers.images), [f"round {answers.rounds[row]}" for row in rows], (),
        pick(answers.classes), pick(answers.confidences), torch.full_like(pick(answers.classes), class_),
    )  # fmt: skip


def _add_map(drawn: go.Figure, row: int, col: int, map_: Tensor) -> None:
    heat = go.Heatmap(z=map_.numpy(), colorscale="Viridis", showscale=False, hovertemplate="%{z:.2f}<extra></extra>")
    drawn.add_trace(heat, row=row, col=col)
    drawn.update_xaxes(visible=False, constrain="domain", row=row, col=col)
    axis = next(drawn.select_xaxes(row=row, col=col)).plotly_name.replace("axis", "")
    drawn.update_yaxes(visible=False, autorange="reversed", scaleanchor=axis, constrain="domain", row=row, col=col)
