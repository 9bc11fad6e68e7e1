"""What a synthesizer is, and what several of them share: the best images of a phase, and target labels."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dfkd_lab.primitives.batch import Batch, of_images
from dfkd_lab.primitives.observer import Observation

Labels = Literal["balanced", "random"]


class Synthesizer(Protocol):
    """The slot: where images come from, and what of it is trained.

    A synthesis phase opens it, renders and steps it some times, and closes it; ``close`` gives the images it made.
    Images with a gradient path come from ``render``; ``sample`` draws without one.
    """

    labelled: bool
    """Whether ``render`` and ``close`` give target labels."""
    sample_labelled: bool
    """Whether ``sample`` does."""
    can_sample: bool
    """Whether there is a source to draw from."""

    def open(self) -> None:
        """Begin a synthesis phase: what is reset each time is reset here."""

    def render(self) -> Batch:
        """The current images, with their gradient path, and their target labels."""
        ...

    def step(self, loss: Tensor, observation: Observation) -> None:
        """Improve on ``loss``, a scalar that was measured on the images of the last ``render``."""

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

    def offer(self, loss: Tensor, rendered: Batch, observation: Observation) -> None:
        """Keep this batch if its loss is lower; decided on the device, so that nothing waits for it.

        Args:
            loss: A scalar.
            rendered: The images it was measured on.
            observation: What the teacher said of them.
        """
        # whole batches are compared: losses like balance and the batch-norm gap belong to a batch, not to an image
        images, is_dense = rendered.images.detach(), observation.logits.ndim > 2
        probabilities = of_images(observation.logits.detach().softmax(1))
        predicted = probabilities.argmax(1)
        class_ = predicted if rendered.labels is None else rendered.labels
        certainty = probabilities.gather(1, class_[:, None]).squeeze(1)
        if self.loss is None or self.batch is None:
            self.loss = loss.detach().clone()
            shares = probabilities if is_dense else None
            self.batch = Batch(images.clone(), rendered.labels, predicted, certainty, shares=shares)
            return
        assert self.batch.predicted is not None
        assert self.batch.certainty is not None
        better = loss.detach() < self.loss
        torch.where(better, loss.detach(), self.loss, out=self.loss)
        torch.where(better, images, self.batch.images, out=self.batch.images)
        torch.where(better, predicted, self.batch.predicted, out=self.batch.predicted)
        torch.where(better, certainty, self.batch.certainty, out=self.batch.certainty)
        if self.batch.shares is not None:
            torch.where(better, probabilities, self.batch.shares, out=self.batch.shares)

    def take(self) -> Batch:
        """The best batch; starts afresh."""
        assert self.batch is not None, "close() before the first step()"
        kept, self.batch, self.loss = self.batch, None, None
        return kept


def draw_labels(n: int, classes: int, how: Labels, device: torch.device) -> Tensor:
    """Target labels.

    Args:
        n: How many.
        classes: K.
        how: "random", or "balanced": each class n // K times and the rest at random.
        device: Where they are drawn.

    Returns:
        Labels [n] in 0 to K - 1.
    """
    if how == "random":
        return torch.randint(0, classes, (n,), device=device)
    even = torch.arange(n, device=device) % classes
    return torch.where(
        torch.arange(n, device=device) < n - n % classes, even, draw_labels(n, classes, "random", device)
    )
