"""What the fixed recipe for teachers is made of: optimizer, learning rate, average of weights, kernels that repeat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dfkd_lab.measure import cosine

MOMENTUM, WEIGHT_DECAY, WARM_UP = 0.9, 5e-4, 0.1


def optimizer_of(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Nesterov SGD; weight decay pulls at matrices and filters, not at norms and biases."""
    heavy = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    light = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": heavy, "weight_decay": WEIGHT_DECAY}, {"params": light, "weight_decay": 0.0}]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=lr, momentum=MOMENTUM, nesterov=True)


def warmed_cosine(share: float, peak: float) -> float:
    """From 0 to ``peak`` in a line over the first tenth of the way, then to 0 along half a cosine."""
    return peak * share / WARM_UP if share < WARM_UP else cosine((share - WARM_UP) / (1 - WARM_UP), peak, 0)


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Move weights and batch-norm statistics of ``averaged`` by 1 - ``decay`` of the way to those of ``model``."""
    pairs = list(zip(averaged.state_dict().values(), model.state_dict().values(), strict=True))
    moving = [(old, new) for old, new in pairs if old.is_floating_point()]
    torch._foreach_lerp_([old for old, _ in moving], [new for _, new in moving], 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():  # counters
            old.copy_(new)


@contextmanager
def deterministic() -> Iterator[None]:
    """CuDNN's kernels that add up in the same order every time, so that a continued training is the same training."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before
