"""Pooling as modules: what a network averages can be observed, and a choice by size does not stop a trace."""

import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn


class GlobalAverage(nn.Module):
    """Feature maps [N, C, H, W] -> their spatial means [N, C]."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


class HalveAtEightPixels(nn.Module):
    """Maps [N, C, 8, 8] -> their maxima over 2x2 [N, C, 4, 4]; maps of any other height pass as they are."""

    def forward(self, maps: Tensor) -> Tensor:
        return _halved_at_eight_pixels(maps)


def _halved_at_eight_pixels(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 2) if maps.shape[2] == 8 else maps


torch.fx.wrap("_halved_at_eight_pixels")  # torch.fx, which folds batch norms, cannot trace a choice by shape
