"""What a round and an evaluation cost, in floating-point operations: counted, not timed, so that it is reproducible.

A backward pass counts as two forward passes where weights are trained, and as one where it only goes through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.nets.generators import ImageGenerator
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.observer import NEEDS_STUDENT

LARGEST_SHARE = 0.02
"""Of a run's computing, for evaluations."""


def rounds_between(run: Run, images: Tensor) -> int:
    """The fewest rounds between evaluations on ``images`` [N, C, H, W] that keep them at 2 % of the computing.

    They may be larger than the images that the run draws, as those of a segmentation are.
    """
    one, drawn = (torch.zeros(1, *shape, device=run.device) for shape in (images.shape[1:], run.shape))
    with run.autocast:  # a frozen network may be held in half precision
        return math.ceil(len(images) * forward(run.student, one) / (LARGEST_SHARE * a_round(run, drawn)))


def a_round(run: Run | ComposedRun, image: Tensor) -> int:
    """A round after the warm-up, networks counted on one image [1, C, H, W]; what a memory computes is left out."""
    return sum(part.teacher + part.student for part in by_phase(run, image))


@dataclass(frozen=True)
class Operations:
    """Of the teacher, and of the generator with it; and of the student."""

    teacher: int
    student: int


def by_phase(run: Run | ComposedRun, image: Tensor) -> tuple[Operations, Operations]:
    """Synthesis and distillation of a round, counted as in :func:`a_round`."""
    recipe, schedule = run.recipe, run.recipe.schedule
    teacher, student = forward(run.teacher, image), forward(run.student, image)
    net = getattr(recipe.synthesizer, "net", None)
    generator = forward(net, image.new_zeros(1, *net.latent_shape)) if isinstance(net, ImageGenerator) else 0
    runs_student = any(needs_of(each.loss) & NEEDS_STUDENT for each in recipe.losses.values() if each.weight)
    made, views = getattr(recipe.synthesizer, "n", schedule.batch), run.cache_views
    g_images = schedule.cycles * schedule.g_steps * made
    s_images = schedule.cycles * schedule.s_steps * schedule.batch
    asked = s_images * (not views) + schedule.cycles * made * views
    return (
        Operations(g_images * (3 * generator + 2 * teacher), g_images * 2 * student * runs_student),
        Operations(s_images * generator * recipe.memory.draws + asked * teacher, s_images * 3 * student),
    )


@torch.no_grad()
def forward(net: nn.Module, inputs: Tensor) -> int:
    """One pass of ``inputs`` [N, ...] through a network, in eval mode so that it changes nothing of it."""
    training = net.training
    with FlopCounterMode(display=False) as counter, torch.compiler.set_stance("force_eager"):
        net.eval()(inputs)
    net.train(training)
    return counter.get_total_flops()
