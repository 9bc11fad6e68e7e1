"""How long a run will take, in words: before it begins by a timed step, afterwards at the pace of its rounds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfkd_lab.engine import flops
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.report import Report
from dfkd_lab.nets.wrap import copied
from dfkd_lab.system.rng import preserved

PIXELS = 2**17
"""Of the timed images together, about: 128 of CIFAR-10's size, and at 224 px so few that it takes seconds on a CPU."""


@dataclass(frozen=True)
class Speed:
    """Floating-point operations a second of a run's teacher and student, forward and backward, on one device."""

    teacher: float
    student: float

    def seconds(self, run: ComposedRun | Run, shape: tuple[int, int, int], done: int = 0) -> float:
        """What the rounds after ``done`` take on images of ``shape``; losses, views and memories come on top."""
        where = next(run.teacher.parameters()).device
        with run.autocast:
            synthesis, distillation = flops.by_phase(run, torch.zeros(1, *shape, device=where))
        warm_up = max(0, run.recipe.schedule.warm_up - done)
        ahead = run.rounds - done
        teacher = ahead * synthesis.teacher + max(0, ahead - warm_up) * distillation.teacher
        student = ahead * synthesis.student + max(0, ahead - warm_up) * distillation.student
        return teacher / self.teacher + student / self.student


def time_a_step(run: ComposedRun | Run, shape: tuple[int, int, int]) -> Speed:
    """Time both networks, forward and backward, on as many images of ``shape`` as a step has, if they are small.

    Nothing of the run changes: copies are timed.
    """
    n = max(2, min(run.recipe.schedule.batch, PIXELS // (shape[1] * shape[2])))
    with preserved():
        images = torch.rand(n, *shape, device=run.device, requires_grad=True)
        teacher, student = (copied(net).to(run.device) for net in (run.teacher, run.student))
        for net in (teacher, student):
            run.autocast.prepare(net, shape)
        with run.autocast:
            return Speed(
                2 * _operations_a_second(teacher.eval(), images), 3 * _operations_a_second(student.train(), images)
            )


def _operations_a_second(net: nn.Module, images: Tensor) -> float:
    """Of the forward pass, in the fastest of three passes forward and backward."""
    times = []
    for _ in range(3):
        _wait(images.device)
        start = time.perf_counter()
        net(images).sum().backward()
        _wait(images.device)
        times.append(time.perf_counter() - start)
    return len(images) * flops.forward(net, images.detach()[:1]) / min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


LEFT_OUT = 1.25
"""What losses, views, memories, optimizers and evaluations add to the passes of the networks, about."""


def rounds_within(seconds: float, run: ComposedRun, shape: tuple[int, int, int]) -> int:
    """As many rounds as take about ``seconds`` here, by timing a step; one at least in which the student learns."""
    speed, warm_up = time_a_step(run, shape), run.recipe.schedule.warm_up
    ahead = dataclasses.replace(run, rounds=warm_up)
    first = speed.seconds(ahead, shape)
    each = speed.seconds(dataclasses.replace(run, rounds=warm_up + 1), shape) - first
    return warm_up + max(1, int((seconds / LEFT_OUT - first) / each))


def expected(run: Run, shape: tuple[int, int, int]) -> str:
    """How long the rounds to come will take, in words, by timing a step; empty if there are none, or to compile."""
    if run.compiled or run.round >= run.rounds:
        return ""
    return sentence(time_a_step(run, shape).seconds(run, shape, run.round), run.device)


def sentence(seconds: float, device: torch.device) -> str:
    """What is said before a run begins whose passes take ``seconds``."""
    where = "this CPU" if device.type == "cpu" else "this GPU"
    return f"about {duration(LEFT_OUT * seconds)} on {where}, by one timed step"


def duration(took: float) -> str:
    """12 s, 3 min, 2.5 h, or 4 days."""
    if took < 90:
        return f"{took:.0f} s"
    if took < 5400:
        return f"{took / 60:.0f} min"
    if took < 172_800:
        return f"{took / 3600:.1f} h" if took < 36_000 else f"{took / 3600:.0f} h"
    return f"{took / 86_400:.0f} days"


def remaining(reports: Sequence[Report]) -> str:
    """How long the run will still take, in words."""
    if reports[-1].cost.s_steps == 0:
        return "time left is known once the student starts"
    return f"about {duration(time_left(reports))} left"


def time_left(reports: Sequence[Report]) -> float:
    """Seconds until the last round, at the pace of the last twenty in which the student learned."""
    recent = reports[-21:]
    warm_up = [report for report in recent if report.cost.s_steps == 0]
    before, last = (warm_up or recent[:1])[-1], recent[-1]
    rounds, took = last.round - before.round, last.cost.seconds - before.cost.seconds
    if not rounds:
        rounds, took = last.round, last.cost.seconds
    return (last.rounds - last.round) * took / rounds
