"""Batch norm that never changes again, folded into the convolution before it: the same answer in fewer operations."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from dfkd_lab.primitives.observe import Frozen


def folded(teacher: Frozen, shape: tuple[int, int, int]) -> Frozen:
    """A copy of ``teacher`` for images [N, *shape] in which batch norms that alone read a convolution are part of it.

    Gives the same logits but for rounding; ``teacher`` itself where there is nothing to fold.
    """
    try:
        return _fold(teacher, torch.linspace(0, 1, 2 * math.prod(shape), dtype=torch.double).view(2, *shape)) or teacher
    except Exception:  # somebody's network may refuse to be copied, or to compute in 64 bits: then it stays as it is
        return teacher


@torch.no_grad()
def _fold(teacher: Frozen, images: Tensor) -> Frozen | None:
    hooks = [each for layer in teacher.modules() for each in (layer._forward_hooks, layer._forward_pre_hooks)]
    # whoever listens to the teacher is not copied with it
    exact = copy.deepcopy(teacher, {id(each): OrderedDict() for each in hooks}).double()
    pairs, wanted = _pairs(exact, images)
    for convolution, norm in pairs:
        first, second = exact.get_submodule(convolution), exact.get_submodule(norm)
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.BatchNorm2d)
        exact.set_submodule(convolution, fuse_conv_bn_eval(first, second))
        exact.set_submodule(norm, nn.Identity())
    same = torch.allclose(exact(images), wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))
    return exact.float() if pairs and same else None


def _pairs(net: nn.Module, images: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Names of convolutions and of the batch norms that alone read their outputs, and the logits of ``images``."""
    readers: dict[str, Readers] = {}
    takers: dict[str, str] = {}

    def follow(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            readers[name] = Readers(output)
            mode.watched.append(readers[name])
        else:
            takers.update({made: name for made, each in readers.items() if each.maps is inputs[0]})

    handles = [
        layer.register_forward_hook(lambda *seen, name=name: follow(name, *seen))
        for name, layer in net.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))
    ]
    with Uses() as mode:
        logits = net(images)
    for handle in handles:
        handle.remove()
    return [(made, name) for made, name in takers.items() if readers[made].count == 1], logits


@dataclass
class Readers:
    """How many operations read these maps."""

    maps: Tensor
    count: int = 0


class Uses(TorchFunctionMode):
    """Counts the operations that make a tensor of the watched ones."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: list[Readers] = []

    def __torch_function__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = call(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            read = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
            for watched in self.watched:
                watched.count += any(each is watched.maps for each in read)
        return made
