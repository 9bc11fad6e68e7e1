"""Networks that take images in [0, 1]: a classifier, a frozen one, and a frozen one with its batch norms folded."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse


class Classifier(nn.Module):
    """A network with its input normalization: images [N, C, H, W] in [0, 1] -> logits [N, K].

    Args:
        net: Takes images in network units, (images - mean) / std.
        mean: Of each channel, C values or one for all.
        std: Likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.network_units(images))

    def network_units(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] as the network was trained to see them."""
        return (images - self.mean) / self.std


class Frozen(Classifier):
    """A classifier that nothing can train: always in eval mode, no parameter asks for a gradient."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__(net, mean, std)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


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
    copied = copy.deepcopy(teacher, {id(each): OrderedDict() for each in hooks})
    wanted, layers = copied(images), sum(isinstance(layer, nn.BatchNorm2d) for layer in copied.modules())
    copied.net = fuse(copied.net, inplace=True)
    is_folded = sum(isinstance(layer, nn.BatchNorm2d) for layer in copied.modules()) < layers
    same = torch.allclose(copied(images), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    copied.requires_grad_(False)  # fusing makes new parameters
    return copied if is_folded and same else None
