"""What a round and an evaluation cost, in floating-point operations: counted, not timed, so that it is reproducible.

A backward pass counts as two forward passes where weights are trained, and as one where it only goes through.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dfkd_lab.engine.loop import Run
from dfkd_lab.nets.generators import ImageGenerator
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.observer import NEEDS_STUDENT

LARGEST_SHARE = 0.02
"""Of a run's computing, for evaluations."""


def rounds_between(run: Run, images: Tensor) -> int:
    """The fewest rounds between evaluations on ``images`` [N, C, H, W] that keep them at 2 % of the computing."""
    one = torch.zeros(1, *images.shape[1:], device=run.device)
    with run.autocast:  # a frozen network may be held in half precision
        return math.ceil(len(images) * forward(run.student, one) / (LARGEST_SHARE * a_round(run, one)))


def a_round(run: Run, image: Tensor) -> int:
    """A round after the warm-up, networks counted on one image [1, C, H, W]; what a memory computes is left out."""
    recipe, schedule = run.recipe, run.recipe.schedule
    teacher, student = forward(run.teacher, image), forward(run.student, image)
    net = getattr(recipe.synthesizer, "net", None)
    generator = forward(net, image.new_zeros(1, *net.latent_shape)) if isinstance(net, ImageGenerator) else 0
    runs_student = any(needs_of(each.loss) & NEEDS_STUDENT for each in recipe.losses.values() if each.weight)
    synthesis = 3 * generator + 2 * teacher + 2 * student * runs_student
    images, views = getattr(recipe.synthesizer, "n", schedule.batch), run.cache_views
    distillation = generator * recipe.memory.draws + teacher * (not views) + 3 * student
    steps = schedule.g_steps * images * synthesis + schedule.s_steps * schedule.batch * distillation
    return schedule.cycles * (steps + images * views * teacher)


@torch.no_grad()
def forward(net: nn.Module, inputs: Tensor) -> int:
    """One pass of ``inputs`` [N, ...] through a network, in eval mode so that it changes nothing of it."""
    training = net.training
    with FlopCounterMode(display=False) as counter, torch.compiler.set_stance("force_eager"):
        net.eval()(inputs)
    net.train(training)
    return counter.get_total_flops()
