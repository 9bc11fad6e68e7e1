"""Sources that never learn: given images, noise, a generator as it was initialized. For references and controls.

They fill the synthesizer's slot under ``Schedule(g_steps=0)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch, in_unit
from dfkd_lab.primitives.observe import Observation


class Source(nn.Module, ABC):
    """A synthesizer with nothing to improve: each phase gives ``n`` images as they come."""

    labelled, sample_labelled, can_sample = False, False, True
    stage: Hashable = None

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def open(self) -> None:
        """Nothing to do."""

    def render(self) -> Batch:
        """``n`` images; no gradient path leads anywhere."""
        return self.sample(self.n)

    def step(self, loss: Tensor, seen: Observation) -> None:
        """Always refused: nothing here can improve."""
        raise TypeError(f"{type(self).__name__} has nothing to train: give it a schedule with g_steps=0")

    def close(self) -> Batch:
        """``n`` images."""
        return self.sample(self.n)

    @abstractmethod
    def sample(self, n: int) -> Batch:
        """``n`` images [n, C, H, W]."""


class Given(Source):
    """Images [N, C, H, W], uint8 or in [0, 1], and labels [N], drawn with replacement. No state dict holds any."""

    labelled, sample_labelled = True, True
    images: Tensor
    labels: Tensor

    def __init__(self, images: Tensor, labels: Tensor, n: int):
        super().__init__(n)
        self.register_buffer("images", images, persistent=False)
        self.register_buffer("labels", labels, persistent=False)

    def sample(self, n: int) -> Batch:
        """``n`` of the images, each as likely as any other, and their labels."""
        index = torch.randint(0, len(self.images), (n,), device=self.images.device)
        return Batch(in_unit(self.images[index]), self.labels[index])


class NoisePixels(Source):
    """Independent pixels with ``mean`` and ``std`` [C, 1, 1] per channel, "gaussian" or "uniform"; not clipped."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, int, int], mean: Tensor, std: Tensor, n: int, pixels: str = "gaussian"):
        super().__init__(n)
        self.shape, self.pixels = shape, pixels
        self.register_buffer("mean", mean.clone(), persistent=False)
        self.register_buffer("std", std.clone(), persistent=False)

    def sample(self, n: int) -> Batch:
        """``n`` images of new noise."""
        size = (n, *self.shape)
        if self.pixels == "gaussian":
            noise = torch.randn(size, device=self.mean.device)
        else:  # of variance 1 too
            noise = (2 * torch.rand(size, device=self.mean.device) - 1) * math.sqrt(3)
        return Batch(noise * self.std + self.mean)


class Untrained(Source):
    """Noise [n, Z] -> a generator as it was initialized."""

    def __init__(self, net: nn.Module, z_dim: int, n: int):
        super().__init__(n)
        self.net, self.z_dim = net.requires_grad_(False), z_dim
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats = False  # normalize by the batch, and remember nothing of it

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """``n`` images of new noise."""
        return Batch(self.net(torch.randn(n, self.z_dim, device=next(self.net.parameters()).device)))


def few(labels: Tensor, n: int) -> Tensor:
    """Places [n] in ``labels`` [N], drawn without replacement, every class as often as any other while it lasts."""
    order = torch.randperm(len(labels), device=labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    firsts = counts.cumsum(0) - counts
    turn = torch.empty_like(order)  # how many of its class were drawn before each
    turn[by_class] = torch.arange(len(labels), device=labels.device) - firsts[labels[by_class]]
    return order[turn[order].argsort(stable=True)[:n]]
