"""DeepInversion and Adaptive DeepInversion (Yin et al., CVPR 2020): the CMI toolbox's, the authors' two."""

from typing import NamedTuple

import torch
from torch import Tensor

from tests.reference.algorithms.networks import MEAN, STD, SmallNet, normalized
from tests.reference.algorithms.notation import (
    Log,
    Start,
    as_bytes,
    balanced_labels,
    bn,
    cosine,
    cross_entropy,
    kd_step,
    note,
    random_labels,
    set_rate,
    statistics,
    uniformly,
)


class Form(NamedTuple):
    """What the codes do differently."""

    lr: float
    betas: tuple[float, float]
    tv: float
    js: float
    balanced: bool
    clips: bool
    flips: bool
    bn: float = 10.0
    first: float = 1.0
    l2: float = 0.0
    rise: int = 0


TOOLBOX = Form(0.1, (0.5, 0.99), 1e-3, 1.0, balanced=False, clips=True, flips=True)
AUTHORS = Form(0.05, (0.9, 0.999), 2.5e-5, 0.0, balanced=True, clips=False, flips=False)
IMAGENET = Form(
    0.25, (0.5, 0.9), 1e-4, 0.0, balanced=False, clips=True, flips=True, bn=0.01, first=10.0, l2=1e-5, rise=100
)


def variations(x: Tensor) -> list[Tensor]:
    """Differences of neighbors: across, down and along both diagonals."""
    return [
        x[:, :, :, 1:] - x[:, :, :, :-1],
        x[:, :, 1:] - x[:, :, :-1],
        x[:, :, 1:, 1:] - x[:, :, :-1, :-1],
        x[:, :, 1:, :-1] - x[:, :, :-1, 1:],
    ]


def js(t: Tensor, s: Tensor) -> Tensor:
    """JS(p_T, p_S) at temperature 3. Differs: the true one, not the codes' clamped one."""
    p, q = (t / 3).softmax(1), (s / 3).softmax(1)
    m = (p + q) / 2
    return (p * (p / m).log() + q * (q / m).log()).sum(1).mean() / 2


def rolled(x: Tensor, jitter: int, flips: bool) -> Tensor:
    """Both axes rolled by up to jitter pixels, the whole batch alike; mirrored half of the time."""
    down, right = (-int(torch.randint(-jitter, jitter + 1, (1,))) for _ in range(2))
    x = torch.roll(x, (down, right), (2, 3))
    return x.flip(3) if flips and float(torch.rand(1)) < 0.5 else x


def rate(how: Form, step: int, steps: int) -> float:
    """Of the pixels: constant, or evenly up in the first steps and then down along half a cosine."""
    if step < how.rise:
        return how.lr * (step + 1) / how.rise
    return cosine((step - how.rise) / (steps - how.rise), how.lr) if how.rise else how.lr


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, form: str, rounds: int, batch: int, g_steps: int,
    s_steps: int, jitter: int, s_lr: float = 0.1, tau: float = 20.0,
) -> Log:  # fmt: skip
    log: Log = {}
    pool: list[Tensor] = []
    how = {"toolbox": TOOLBOX, "authors": AUTHORS, "imagenet": IMAGENET}[form]
    classes = teacher.fc.out_features
    black, white = (normalized(torch.full((3, 1, 1), value)) for value in (0.0, 1.0))
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=1e-4)
    for round in range(rounds):
        x = torch.randn(batch, 3, 8, 8).requires_grad_()  # in network units
        # Differs: the labels left over of an even share are random, not the first classes
        y = balanced_labels(batch, classes) if how.balanced else random_labels(batch, classes)
        optimizer = torch.optim.Adam([x], lr=how.lr, betas=how.betas)
        lowest, best = float("inf"), x
        student.eval()
        for step in range(g_steps):
            # Differs: the variation of both is taken after the roll
            view = rolled(x, jitter, how.flips)
            seen = teacher.layers(view)
            given, gap = cross_entropy(seen.logits, y), bn(teacher, statistics(seen.inputs), how.first)
            parts = [d.abs().mean() if form == "toolbox" else d.pow(2).sum().sqrt() for d in variations(view)]
            tv = torch.stack(parts).sum()
            loss = given + how.bn * gap + how.tv * tv
            note(log, label=given, bn_gap=gap, total_variation=tv)
            if how.l2:
                l2 = view.pow(2).sum((1, 2, 3)).sqrt().mean()
                loss = loss + how.l2 * l2
                note(log, l2=l2)
            if how.js:
                differing = -js(seen.logits, student(view))
                loss = loss + how.js * differing
                note(log, gap=differing)
            note(log, synthesis=loss)
            if loss.item() < lowest:  # Differs: the best images are kept, not the last
                lowest, best = loss.item(), x.detach().clone()
            optimizer.zero_grad()
            loss.backward()
            set_rate(optimizer, rate(how, step, g_steps))
            optimizer.step()
            if how.clips:
                x.data = torch.maximum(torch.minimum(x.data, white), black)
        pool.append(as_bytes(best * torch.tensor(STD).view(-1, 1, 1) + torch.tensor(MEAN).view(-1, 1, 1)))
        for step in range(s_steps):
            # Differs: the rate falls step by step
            set_rate(s_optimizer, cosine((round * s_steps + step) / (rounds * s_steps), s_lr))
            kd_step(log, teacher, student, s_optimizer, normalized(uniformly(pool, batch)), tau)
    return log
