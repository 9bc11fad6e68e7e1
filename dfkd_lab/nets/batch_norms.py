"""Batch norms, known by what they keep and not by their class: synchronized, frozen and a user's own are among them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def keeps_statistics(layer: nn.Module) -> bool:
    """Whether a layer normalizes each channel by a mean and a variance that it keeps of what it was trained on.

    An instance norm may keep some too, but of single images, which no batch's statistics can be held against. Inside a
    scripted module no hook is called, so what it keeps cannot be compared with anything.
    """
    if isinstance(layer, (nn.modules.instancenorm._InstanceNorm, torch.jit.ScriptModule)):
        return False
    mean, variance = (getattr(layer, name, None) for name in ("running_mean", "running_var"))
    return isinstance(mean, Tensor) and isinstance(variance, Tensor) and 0 < mean.numel() == variance.numel()


def running_statistics(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] of a layer that keeps them."""
    mean, variance = layer.running_mean, layer.running_var
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    return mean.flatten(), variance.flatten()


def maps_given(layer: nn.Module, inputs: tuple[object, ...]) -> Tensor | None:
    """The input of a layer that keeps statistics as feature maps [N, C, H, W]; None if it is given something else."""
    given = inputs[0] if inputs else None
    if not isinstance(given, Tensor) or given.ndim < 2 or given.shape[1] != len(running_statistics(layer)[0]):
        return None
    return given if given.ndim == 4 else given.reshape(*given.shape[:2], -1, 1)
