"""Networks that take images in [0, 1]: a classifier, a frozen one, and a frozen one with its batch norms folded."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.optim.swa_utils import AveragedModel
from torch.utils._pytree import tree_leaves

NAMED = ("logits", "out")
"""What an output of several parts calls its logits: Hugging Face and torchvision the first, torchvision the second."""
WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
"""What holds the network itself as ``module``."""


class Classifier(nn.Module):
    """A network with its input normalization: images [N, C, H, W] in [0, 1] -> logits [N, K], or [N, K, H, W].

    Args:
        net: Takes images in network units, (images - mean) / std; gives logits, or an object or a mapping that has them
            under one of ``NAMED``.
        mean: Of each channel, C values or one for all.
        std: Likewise.
    """

    mean: Tensor
    std: Tensor
    is_contiguous = False
    """Whether the network is given images laid out channel by channel, whatever they were: it may call ``view``."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        units = self.network_units(images)
        logits: Tensor = named_logits(self.net(units.contiguous() if self.is_contiguous else units))
        return logits

    def network_units(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] as the network was trained to see them."""
        return (images - self.mean) / self.std


class Frozen(Classifier):
    """A classifier that nothing can train: always in eval mode, no parameter asks for a gradient."""

    is_held_in_bfloat16 = False
    """Whether its filters are, as a run in half precision has them: outside of autocast it then enters it itself."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__(net, mean, std)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        if not self.is_held_in_bfloat16 or torch.is_autocast_enabled(images.device.type):
            return super().forward(images)
        with torch.autocast(images.device.type, torch.bfloat16, cache_enabled=False):
            return super().forward(images)


def named_logits(output: Any) -> Any:
    """The part of a network's output that is called its logits; any other output, a tensor say, as it is.

    Which part of a tuple or list would be the logits is not said there, so none is taken.
    """
    if isinstance(output, Tensor):
        return output
    parts = output if isinstance(output, Mapping) else {name: getattr(output, name, None) for name in NAMED}
    return next((parts[name] for name in NAMED if isinstance(parts.get(name), Tensor)), output)


@contextmanager
def in_eval_mode(net: nn.Module) -> Iterator[None]:
    """Inside, ``net`` is in eval mode; afterwards every module of it is in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def unwrapped(net: nn.Module) -> nn.Module:
    """The network inside what trained it on several devices, averaged it or compiled it."""
    while True:
        inner = net.module if isinstance(net, WRAPPERS) else getattr(net, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return net
        net = inner


def uncompiled(net: nn.Module) -> nn.Module:
    """``net`` with what is compiled inside it as it was: a run compiles by itself, before its seal closes."""
    for name, module in list(net.named_modules()):
        if name and isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            net.set_submodule(name, inner)
    for module in net.modules():
        module._compiled_call_impl = None
    return net


@torch.no_grad()
def copied(net: nn.Module, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy of ``net``, also of one that holds results of a pass, as weight norm does and who records features.

    Args:
        net: Any network.
        memo: What stands in the copy for objects, by their id.
    """
    memo = {} if memo is None else memo
    for value in tree_leaves([list(vars(module).values()) for module in net.modules()]):
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()  # torch copies no tensor that is part of a graph
    made = copy.deepcopy(net, memo)
    for mine, other in zip(made.parameters(), net.parameters(), strict=True):
        mine.requires_grad_(other.requires_grad)  # those of a scripted module forget it
    return made


def folded(teacher: Frozen, shape: tuple[int, ...]) -> Frozen:
    """A copy of ``teacher`` whose batch norms are folded into the convolutions before them (by ``torch.fx``).

    Both give the same logits but for rounding, which is checked here on two images.

    Args:
        teacher: Any frozen classifier; hooks on it are not copied.
        shape: Of its images, [C, H, W].

    Returns:
        The copy, or ``teacher`` itself where ``torch.fx`` cannot trace it or nothing is folded.
    """
    images = torch.linspace(0, 1, 2 * math.prod(shape)).view(2, *shape)
    try:
        return _fold(teacher, images) or teacher
    except Exception:  # a network of a user's own may refuse to be copied, traced or run: then it stays as it is
        return teacher


@torch.no_grad()
def _fold(teacher: Frozen, images: Tensor) -> Frozen | None:
    hooks = [each for layer in teacher.modules() for each in (layer._forward_hooks, layer._forward_pre_hooks)]
    # whoever listens to the teacher is not copied with it
    fused: Frozen = copied(teacher, {id(each): OrderedDict() for each in hooks})
    wanted, layers = teacher(images), sum(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules())
    fused.net = fuse(fused.net, inplace=True)
    is_folded = sum(isinstance(layer, nn.BatchNorm2d) for layer in fused.modules()) < layers
    same = torch.allclose(fused(images), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    fused.requires_grad_(False)  # fusing makes new parameters
    return fused if is_folded and same else None
