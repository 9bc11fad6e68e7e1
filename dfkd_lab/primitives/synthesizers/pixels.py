"""Images that are optimized pixel by pixel (DeepInversion)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers.base import Best, Labels, draw_labels


class Pixels(nn.Module):
    """The pixels themselves are optimized (DeepInversion): a new batch of noise and a new Adam each phase.

    Args:
        n: Images of a phase.
        shape: Of an image, [C, H, W].
        classes: K.
        mean: Of the teacher's normalization, [C, 1, 1].
        std: Likewise.
        lr: Of Adam, in network units.
        betas: Of Adam.
        clip: Whether pixels are clipped to [0, 1] after each step.
        labels: How target labels are drawn, see :func:`~dfkd_lab.primitives.synthesizers.base.draw_labels`.
        rate: The learning rate at a step of a phase, counted from 0; None keeps ``lr``.
    """

    labelled, sample_labelled, can_sample = True, False, False
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        n: int,
        shape: tuple[int, int, int],
        classes: int,
        mean: Tensor,
        std: Tensor,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        clip: bool = True,
        labels: Labels = "balanced",
        rate: Callable[[int], float] | None = None,
    ):
        super().__init__()
        self.n, self.shape, self.classes, self.labels = n, shape, classes, labels
        self.lr, self.betas, self.clip, self.rate = lr, betas, clip, rate
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.best = Best()

    def open(self) -> None:
        """Draw noise with the statistics of the normalized input, and labels."""
        # optimized in network units, so that lr means the same for every data set
        self.pixels = torch.randn(self.n, *self.shape, device=self.mean.device).requires_grad_()
        self.targets = draw_labels(self.n, self.classes, self.labels, self.pixels.device)
        self.optimizer, self.steps = torch.optim.Adam([self.pixels], lr=self.lr, betas=self.betas, fused=True), 0

    def render(self) -> Batch:
        """The images as they are."""
        self._rendered = Batch(self.pixels * self.std + self.mean, self.targets)
        return self._rendered

    def step(self, loss: Tensor, observation: Observation) -> None:
        """One Adam step on the pixels; with ``clip`` then back into the valid range."""
        self.best.offer(loss, self._rendered, observation)
        del self._rendered  # it holds the graph, which is freed by backward
        loss.backward()
        if self.rate:
            self.optimizer.param_groups[0]["lr"] = self.rate(self.steps)
        self.steps += 1
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.clip:
            with torch.no_grad():  # after the step: a clamp inside the graph would stop the gradient at the border
                self.pixels.copy_(((self.pixels * self.std + self.mean).clamp(0, 1) - self.mean) / self.std)

    def close(self) -> Batch:
        """The images with the lowest loss."""
        return self.best.take()

    def sample(self, n: int) -> Batch:
        """Always refused: pixels are no source of fresh images, so a memory has to keep them."""
        raise TypeError("optimized pixels cannot be drawn anew: give this synthesizer a memory that keeps images")
