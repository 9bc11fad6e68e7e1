"""The feature maps whose spatial mean a network's classifier reads: where they are, and whether it does read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dfkd_lab.nets.pooling import GlobalAverage
from dfkd_lab.nets.wrap import in_eval_mode

NAMES = ("avgpool", "global_pool")
"""What torchvision and timm call the module that pools."""


@dataclass(frozen=True)
class LastMaps:
    """Where the last maps pass: into the module that pools them, or out of the last stage."""

    module: nn.Module
    goes_in: bool

    def hook(self, record: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``record`` with the maps in every pass."""
        if self.goes_in:
            return self.module.register_forward_pre_hook(partial(_record_input, record))
        return self.module.register_forward_hook(partial(_record_output, record))


def _record_input(record: Callable[[Tensor], None], module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    record(inputs[0])


def _record_output(
    record: Callable[[Tensor], None], module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    record(output)


def last_maps_of(net: nn.Module, stages: list[nn.Module], head: nn.Linear | None) -> LastMaps | None:
    """Where the last maps of a network are.

    Args:
        net: Any network.
        stages: Its own; a module that pools inside one (squeeze and excitation) is passed over.
        head: Its classifier.

    Returns:
        What goes into the last module before ``head`` that averages over places; else what its last stage gives; None
        if there is neither.
    """
    inside = {id(module) for stage in stages for module in stage.modules()}
    pooling = None
    for name, module in net.named_modules():
        if module is head:
            break
        averages = isinstance(module, (GlobalAverage, nn.AdaptiveAvgPool2d)) or name.rpartition(".")[2] in NAMES
        if averages and id(module) not in inside and not isinstance(module, torch.jit.ScriptModule):
            pooling = module
    if pooling is not None:
        return LastMaps(pooling, goes_in=True)
    return LastMaps(stages[-1], goes_in=False) if stages else None


def activation_map(maps: Tensor, weight: Tensor) -> Tensor:
    """One map a class (CAM, Zhou et al., arXiv:1512.04150), whose spatial mean, with the bias, is the class's logit.

    Args:
        maps: The last ones, [N, C, H, W].
        weight: The classifier's, [K, C].

    Returns:
        [N, K, H, W].
    """
    return F.conv2d(maps, weight[:, :, None, None])


@torch.no_grad()
def why_no_activation_map(net: nn.Module, last: LastMaps | None, head: nn.Linear | None, images: Tensor) -> str:
    """What keeps the spatial mean of a network's activation map from being its logits, found by one pass.

    Args:
        net: Any network, with its weights or without; its modes are as before afterwards.
        last: Where its last maps are.
        head: Its classifier.
        images: [N, C, H, W] as it takes them, on its device.

    Returns:
        In words that follow "the network"; empty if nothing does.
    """
    if head is None:
        return "has no linear layer"
    if last is None:
        return "has neither a module that pools (nn.AdaptiveAvgPool2d) nor stages ('stages' or 'layer1')"
    found: list[Tensor] = []
    handle = last.hook(found.append)
    try:
        with in_eval_mode(net):
            logits = net(images)
    finally:
        handle.remove()
    if not found or found[-1].ndim != 4:
        return "has no feature maps before its linear layer"
    if found[-1].shape[1] != head.in_features:
        return f"has a linear layer of {head.in_features} inputs, and last maps of {found[-1].shape[1]} channels"
    means = activation_map(found[-1], head.weight).mean((2, 3)) + (0 if head.bias is None else head.bias)
    near = 1e-3 * float(logits.abs().max())
    if means.shape != logits.shape or not torch.allclose(means, logits, rtol=1e-3, atol=near, equal_nan=True):
        return "has a linear layer that reads something else than the spatial means of its last maps"
    return ""
