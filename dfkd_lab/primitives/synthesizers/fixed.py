"""Sources that never learn: given images, noise, a generator as it was initialized. For references and controls.

They fill the synthesizer's slot under ``Schedule(g_steps=0)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dfkd_lab.errors import RecipeError
from dfkd_lab.nets.generators import draw_latent
from dfkd_lab.primitives.batch import Batch, to_float
from dfkd_lab.primitives.observer import Observation


class FixedSource(nn.Module, ABC):
    """A synthesizer with nothing to improve: each phase gives ``n`` images as they come.

    Args:
        n: Images of a phase.
    """

    labelled, sample_labelled, can_sample = False, False, True

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def open(self) -> None:
        """Nothing to do."""

    def render(self) -> Batch:
        """``n`` images; no gradient path leads anywhere."""
        return self.sample(self.n)

    def step(self, loss: Tensor, observation: Observation) -> None:
        """Always refused: nothing here can improve."""
        raise TypeError(f"{type(self).__name__} has nothing to train: give it a schedule with g_steps=0")

    def close(self) -> Batch:
        """``n`` images."""
        return self.sample(self.n)

    @abstractmethod
    def sample(self, n: int) -> Batch:
        """``n`` images [n, C, H, W]."""


class FixedImages(FixedSource):
    """Real images with their labels, drawn with replacement, for references only. No state dict holds any.

    A recipe cannot reach real images; the run hands them over by :meth:`give`, and to this synthesizer alone.

    Args:
        n: Images of a step.
        count: Images to learn from, as many of each class; 0, or more than there are, takes all, shuffled. None takes
            all as they stand.
    """

    labelled, sample_labelled = True, True
    images: Tensor | None
    labels: Tensor | None

    def __init__(self, n: int, count: int | None = None):
        super().__init__(n)
        self.count = count
        self.register_buffer("images", None, persistent=False)
        self.register_buffer("labels", None, persistent=False)

    def give(self, images: Tensor, labels: Tensor) -> None:
        """Take the images to learn from.

        Args:
            images: [N, C, H, W], uint8 or in [0, 1].
            labels: [N], or [N, H, W] of every pixel.
        """
        if self.count is not None:
            n = self.count or len(labels)
            is_dense = labels.ndim > 1  # every image is of several classes
            order = torch.randperm(len(labels), device=labels.device)[:n] if is_dense else stratified_sample(labels, n)
            images, labels = images[order], labels[order]
        self.images, self.labels = images, labels

    def sample(self, n: int) -> Batch:
        """``n`` of the images, each as likely as any other, and their labels.

        Raises:
            RecipeError: if no images were given.
        """
        if self.images is None or self.labels is None:
            raise RecipeError("there are no real images here; only a reference, declared as such, is given any")
        index = torch.randint(0, len(self.images), (n,), device=self.images.device)
        return Batch(to_float(self.images[index]), self.labels[index])


class NoisePixels(FixedSource):
    """Independent pixels, not clipped.

    Args:
        shape: Of an image, [C, H, W].
        mean: Of each channel, [C, 1, 1].
        std: Likewise.
        n: Images of a step.
        pixels: Their distribution, "gaussian" or "uniform".
    """

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


class Untrained(FixedSource):
    """Noise -> a generator as it was initialized.

    Args:
        net: Noise [N, Z] -> images [N, C, H, W].
        z_dim: Z.
        n: Images of a step.
    """

    def __init__(self, net: nn.Module, z_dim: int, n: int):
        super().__init__(n)
        self.net, self.z_dim = net.requires_grad_(False), z_dim
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats = False  # normalize by the batch, and remember nothing of it

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """``n`` images of new noise."""
        return Batch(self.net(draw_latent(self.net, n, self.z_dim, next(self.net.parameters()).device)))


def stratified_sample(labels: Tensor, n: int) -> Tensor:
    """Indices drawn without replacement, every class as often as any other while it lasts.

    Args:
        labels: [N].
        n: How many.

    Returns:
        Indices [min(n, N)] into ``labels``.
    """
    order = torch.randperm(len(labels), device=labels.device)
    by_class = order[labels[order].argsort(stable=True)]
    counts = torch.bincount(labels)
    firsts = counts.cumsum(0) - counts
    turn = torch.empty_like(order)  # how many of its class were drawn before each
    turn[by_class] = torch.arange(len(labels), device=labels.device) - firsts[labels[by_class]]
    return order[turn[order].argsort(stable=True)[:n]]
