"""Synthesizers: where images come from, and what of it is trained.

Every synthesizer is opened, rendered and stepped some times, and closed; ``close`` returns the images it made. Images
with a gradient path come from ``render``; ``sample`` draws without one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.observe import Observation

Labels = Literal["balanced", "random"]


class Synthesizer(Protocol):
    """The slot."""

    labelled: bool
    """Whether ``render`` and ``close`` give the labels asked for."""
    sample_labelled: bool
    """Whether ``sample`` does."""
    can_sample: bool
    """Whether there is a source to draw from."""

    @property
    def stage(self) -> Hashable:
        """What rendering and stepping go by besides tensors; None if that cannot be said.

        While it is the same they call the same operators.
        """
        ...

    def open(self) -> None:
        """Begin a synthesis phase: what is reset each time is reset here."""

    def render(self) -> Batch:
        """The current images, with their gradient path, and the labels asked for."""
        ...

    def step(self, loss: Tensor, seen: Observation) -> None:
        """Improve on ``loss``, which was measured on the images of the last ``render``."""

    def close(self) -> Batch:
        """End the phase; the images to keep."""
        ...

    def sample(self, n: int) -> Batch:
        """``n`` images from the source as it is now, without gradient."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        ...


class Best:
    """The images with the lowest loss of a phase: a copy, never an alias of what is still being optimized."""

    def __init__(self) -> None:
        self.loss: Tensor | None = None
        self.batch: Batch | None = None

    def offer(self, loss: Tensor, rendered: Batch, seen: Observation) -> None:
        """Keep this batch if its loss is lower; decided on the device, so that nothing waits for it."""
        images, predicted = rendered.images.detach(), seen.logits.detach().argmax(1)
        if self.loss is None or self.batch is None:
            self.loss, self.batch = loss.detach().clone(), Batch(images.clone(), rendered.labels, predicted)
            return
        assert self.batch.predicted is not None
        better = loss.detach() < self.loss
        for kept, new in ((self.loss, loss.detach()), (self.batch.images, images), (self.batch.predicted, predicted)):
            torch.where(better, new, kept, out=kept)  # in place, for a tape of the step

    def take(self) -> Batch:
        """The best batch; starts afresh."""
        assert self.batch is not None, "close() before the first step()"
        kept, self.batch, self.loss = self.batch, None, None
        return kept


def draw_labels(n: int, classes: int, how: Labels, device: torch.device) -> Tensor:
    """Class labels [n]: "random" ones, or "balanced" ones, each class n/K times and the rest at random."""
    if how == "random":
        return torch.randint(0, classes, (n,), device=device)
    even = torch.arange(n, device=device) % classes
    return torch.where(
        torch.arange(n, device=device) < n - n % classes, even, draw_labels(n, classes, "random", device)
    )


class Pixels(nn.Module):
    """The pixels themselves are optimized (DeepInversion): a new batch of noise and a new Adam each phase."""

    labelled, sample_labelled, can_sample = True, False, False
    stage: Hashable = "phase"
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
        labels: Labels = "balanced",
    ):
        super().__init__()
        self.n, self.shape, self.classes, self.labels = n, shape, classes, labels
        self.lr, self.betas = lr, betas
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.best = Best()

    def open(self) -> None:
        """Draw noise with the statistics of the normalized input, and labels."""
        # optimized in network units, so that lr means the same for every data set
        self.pixels = torch.randn(self.n, *self.shape, device=self.mean.device).requires_grad_()
        self.asked = draw_labels(self.n, self.classes, self.labels, self.pixels.device)
        self.optimizer = torch.optim.Adam([self.pixels], lr=self.lr, betas=self.betas, fused=True)

    def render(self) -> Batch:
        """The images as they are."""
        self._rendered = Batch(self.pixels * self.std + self.mean, self.asked)
        return self._rendered

    def step(self, loss: Tensor, seen: Observation) -> None:
        """One Adam step on the pixels, then back into the valid range."""
        self.best.offer(loss, self._rendered, seen)
        del self._rendered
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.pixels.copy_(((self.pixels * self.std + self.mean).clamp(0, 1) - self.mean) / self.std)

    def close(self) -> Batch:
        """The images with the lowest loss."""
        return self.best.take()

    def sample(self, n: int) -> Batch:
        """Always refused: pixels are no source of fresh images, so a memory has to keep them."""
        raise TypeError("optimized pixels cannot be drawn anew: give this synthesizer a memory that keeps images")


class NoiseGenerator(nn.Module):
    """Noise -> generator, the generator trained, new noise each step (DAFL, DFAD, DFQ).

    The generator stays in train mode, also when it feeds the student, as in the methods' code. With ``classes`` labels
    are drawn too, and ``net`` takes (noise, labels). ``clip`` is the largest norm of the gradient. With ``hold``
    samples come from the noise of the last step, through the generator as it is since then (ZSKT). With ``fade`` the
    learning rate falls to 0 along a cosine of that many steps.
    """

    can_sample = True
    stage: Hashable = None

    def __init__(
        self,
        net: nn.Module,
        n: int,
        z_dim: int,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        classes: int = 0,
        labels: Labels = "balanced",
        clip: float | None = None,
        hold: bool = False,
        fade: int = 0,
    ):
        super().__init__()
        self.net, self.n, self.z_dim = net, n, z_dim
        self.classes, self.labels, self.clip, self.hold = classes, labels, clip, hold
        self.labelled = self.sample_labelled = bool(classes)
        self.lr, self.fade = lr, fade
        groups = [{"params": list(net.parameters()), "taken": 0}]
        self.optimizer = torch.optim.Adam(groups, lr=lr, betas=betas, fused=True)

    def open(self) -> None:
        """Nothing is reset."""

    def render(self) -> Batch:
        """New images from new noise, with the labels asked for if there are any."""
        self._code = self._draw(self.n)
        self._rendered = self._decode(*self._code)
        return self._rendered

    def step(self, loss: Tensor, seen: Observation) -> None:
        """One Adam step on the generator."""
        self._rendered.predicted = seen.logits.detach().argmax(1)
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        (group,) = self.optimizer.param_groups  # the steps taken are counted there, where a checkpoint finds them
        if self.fade:
            group["lr"] = self.lr * (1 + math.cos(math.pi * min(1, group["taken"] / self.fade))) / 2
        group["taken"] += 1
        self.optimizer.step()

    def close(self) -> Batch:
        """The images of the last step."""
        made = self._rendered
        return Batch(made.images.detach(), made.labels, made.predicted)

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """``n`` new images; with ``hold`` those of the last step's noise, at most ``n``."""
        noise, labels = self._code if self.hold else self._draw(n)
        return self._decode(noise[:n], None if labels is None else labels[:n])

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The optimizer's state."""
        self.optimizer.load_state_dict(state)

    def _draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        device = next(self.net.parameters()).device
        noise = torch.randn(n, self.z_dim, device=device)
        return noise, draw_labels(n, self.classes, self.labels, device) if self.classes else None

    def _decode(self, noise: Tensor, labels: Tensor | None) -> Batch:
        return Batch(self.net(noise) if labels is None else self.net(noise, labels), labels)
