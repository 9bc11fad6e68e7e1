"""What a network gives for images, held against the logits of its task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.nets.wrap import copied, named_logits
from dfkd_lab.system.faults import article

TASKS = ("classification", "segmentation")
"""A class for each image, logits [N, K], or one for each pixel, logits [N, K, H, W]."""


def wanted(task: str, images: Tensor, classes: int | None) -> str:
    """The logits of ``images`` [N, C, H, W], in words."""
    size = images.shape[2:] if task == "segmentation" else ()
    return f"logits [{', '.join(map(str, (len(images), classes or 'classes', *size)))}]"


def kind(output: Any) -> str:
    """An output in words."""
    return f"a tensor of layout {output.layout}" if isinstance(output, Tensor) else article(output)


def task_of_shape(output: Tensor, images: Tensor) -> str | None:
    """The task whose logits of ``images`` [N, C, H, W] have the shape of ``output``; None if there is none."""
    if output.shape[:1] != images.shape[:1]:
        return None
    if output.ndim == 4 and output.shape[2:] == images.shape[2:]:
        return "segmentation"
    return "classification" if output.ndim == 2 else None


def cure_of_shape(output: Tensor, images: Tensor, task: str) -> str:
    """What to do about an output that has not the shape of the task's logits, to follow them; empty if unknown."""
    if task == "classification":
        return ", so end it with nn.AdaptiveAvgPool2d(1) and nn.Flatten()" if output.ndim == 4 else ""
    if output.ndim == 2 or output.shape[2:] == (1, 1):
        return ", a class for each pixel, so leave out the pooling and end it with a convolution"
    if output.ndim == 4 and output.shape[1:3] == images.shape[2:]:
        return ", so permute(0, 3, 1, 2) them"
    if output.ndim == 4 and output.shape[2:] != images.shape[2:]:
        return ", so enlarge them with F.interpolate(logits, images.shape[2:], mode='bilinear')"
    return ", so leave out the argmax" if output.ndim == 3 and not output.is_floating_point() else ""


def no_logits(net: nn.Module, images: Tensor, output: Tensor) -> str:
    """What an output [N, K] or [N, K, H, W] is in place of logits, and the cure; empty if it may be logits."""
    if output.shape[1] == 1:
        return (
            "one logit, and softmax over one class is always 1; allowed: one for each class, as 0 and this one for two"
        )
    if bool((output >= 0).all()) and torch.allclose(output.sum(1), output.new_ones(()), atol=1e-4):
        return "probabilities; allowed: logits, so leave out the softmax"
    if torch.allclose(output.logsumexp(1), output.new_zeros(()), atol=1e-4):
        return "logarithms of probabilities; allowed: logits, so leave out the log_softmax"
    if bool((output >= 0).all() and (output <= 1).all() and output.std() > 0) and _is_bounded(net, images):
        return "numbers between 0 and 1; allowed: logits, so leave out the sigmoid"
    return ""


@torch.no_grad()
def _is_bounded(net: nn.Module, images: Tensor) -> bool:
    """Whether the outputs stay between 0 and 1 with a last layer a hundred times as large."""
    try:
        enlarged = copied(net)
        for parameter in list(enlarged.parameters())[-2:]:
            parameter.mul_(100)
        output = named_logits(enlarged(images))
    except Exception:  # what cannot be copied here is refused for that elsewhere
        return False
    return bool((output >= 0).all() and (output <= 1).all())
