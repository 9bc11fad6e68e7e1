"""The fixed recipes for teachers: optimizer, learning rate, average of weights, kernels that repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from dfkd_lab.engine.schedules import cosine

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


@dataclass(frozen=True)
class TrainingRecipe:
    """How a teacher is trained: Nesterov SGD along a cosine, random crops, hard labels.

    Labels are not smoothed, because a smoothed teacher distils badly (Müller et al., 2019, arXiv:1906.02629).
    """

    name: ClassVar[str] = "SGD"
    batch: int = 256
    lr: float = 0.2
    lr_without_norm: float = 0.02
    """For a network without batch norm."""
    warm_up: float = 0.1
    """Share of the steps in which the learning rate rises."""
    averaging: float = 0.998
    """Of the weights, by step; 0 keeps the last ones."""
    decays_all: bool = False
    """Whether weight decay pulls at norms and biases too."""
    replacement: bool = False
    """Whether images are drawn with replacement, not by epochs."""

    def optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Nesterov SGD; weight decay pulls at matrices and filters, and at norms and biases if ``decays_all``."""
        heavy = [parameter for parameter in model.parameters() if parameter.ndim > 1 or self.decays_all]
        light = [parameter for parameter in model.parameters() if parameter.ndim <= 1 and not self.decays_all]
        groups = [{"params": heavy, "weight_decay": WEIGHT_DECAY}, {"params": light, "weight_decay": 0.0}]
        return torch.optim.SGD([group for group in groups if group["params"]], lr=lr, momentum=MOMENTUM, nesterov=True)

    def learning_rate(self, step: int, steps: int, peak: float) -> float:
        """Of step 0 to ``steps`` - 1; with a warm-up, the first and the last step are not at 0."""
        return self.rate((step + 1) / (steps + 1) if self.warm_up else step / steps, peak)

    def rate(self, share: float, peak: float) -> float:
        """From 0 to ``peak`` in a line during the warm-up, then to 0 along half a cosine, as ``share`` goes to 1."""
        if share < self.warm_up:
            return peak * share / self.warm_up
        return cosine((share - self.warm_up) / (1 - self.warm_up), peak, 0)

    def __str__(self) -> str:
        decay = "" if self.decays_all else " not on norms and biases"
        parts = [f"Nesterov momentum {MOMENTUM}, weight decay {WEIGHT_DECAY:g}{decay}, batch {self.batch}"]
        parts += [f"warm-up {self.warm_up:.0%} then cosine" if self.warm_up else "cosine"]
        parts += ["images drawn with replacement"] if self.replacement else []
        parts += [f"average of weights {self.averaging}"] if self.averaging else []
        return ", ".join([*parts, "no label smoothing"])


@dataclass(frozen=True)
class AdamRecipe(TrainingRecipe):
    """The same with AdamW, as dense networks that are small learn in a minute."""

    name: ClassVar[str] = "AdamW"

    def optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """AdamW with torch's weight decay."""
        return torch.optim.AdamW(model.parameters(), lr=lr)

    def __str__(self) -> str:
        return f"weight decay 0.01, batch {self.batch}, warm-up {self.warm_up:.0%} then cosine"


SHORT = TrainingRecipe()
"""In the manner of airbench (Jordan, 2024, arXiv:2404.00498): the whole set on the device, crops and flips by indexing,
a warm-up and a fall, an average of the weights."""
DENSE = AdamRecipe(batch=32, lr=4e-3, lr_without_norm=2e-3, averaging=0.0)
"""Of networks that label every pixel."""
DIGITS = TrainingRecipe(batch=128, lr=0.1, warm_up=0.0, averaging=0.0, decays_all=True, replacement=True)
"""What the teacher called "digits" was always trained by."""


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Move weights and batch-norm statistics of ``averaged`` by 1 - ``decay`` of the way to those of ``model``."""
    pairs = list(zip(averaged.state_dict().values(), model.state_dict().values(), strict=True))
    moving = [(old, new) for old, new in pairs if old.is_floating_point()]
    torch._foreach_lerp_([old for old, _ in moving], [new for _, new in moving], 1 - decay)
    counters = [(old, new) for old, new in pairs if not old.is_floating_point()]
    if counters:
        torch._foreach_copy_([old for old, _ in counters], [new for _, new in counters])


@contextmanager
def deterministic() -> Iterator[None]:
    """CuDNN's kernels that add up in the same order every time, so that a continued training is the same training."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before
