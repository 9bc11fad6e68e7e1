"""A buffer that is read by what the student finds hard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories.buffer import ImageBuffer

DIVISORS = ("largest", "mean", "none")


class PriorityBuffer(ImageBuffer):
    """A buffer read by priority (prioritized replay, Schaul et al., arXiv:1511.05952; the proportional variant).

    P(i) ~ (p_i + 1e-6)^alpha, p_i the student's last loss on image i; a new image enters with the largest priority so
    that it is soon seen. Importance weights (N P(i))^-beta, divided by their largest in the batch, correct the bias,
    with beta rising from ``beta`` to 1 over the run. So divided, most are small, and with them the student's step;
    divided by their mean they leave its size as it is (not of that paper).

    Args:
        capacity: In images.
        shape: Of an image, [C, H, W].
        alpha: In [0, 1]; 0 reads uniformly.
        beta: In [0, 1], at the start.
        evict: "oldest" or "worst".
        pixel_classes: As for an :class:`ImageBuffer`.
        importance: One of ``DIVISORS``: what importance weights are divided by; "none" for no weights.
    """

    priorities: Tensor

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, int, int],
        alpha: float,
        beta: float,
        evict: str = "oldest",
        pixel_classes: int = 0,
        importance: str = "largest",
    ):
        super().__init__(capacity, shape, evict, pixel_classes)
        self.importance = importance
        self.alpha, self.beta, self._exponent = alpha, beta, beta
        self.register_buffer("priorities", torch.zeros(capacity))
        self._score_all()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PriorityBuffer:
        super()._apply(fn, recurse)
        self._score_all()
        return self

    def open(self, progress: float) -> None:
        """Let beta rise."""
        super().open(progress)
        self._exponent = self.beta + (1 - self.beta) * progress

    def restored(self) -> None:
        """Score the images anew too."""
        super().restored()
        self._score_all()

    def draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        """The places [n] of a read, by priority, and their importance weights [n], if there are to be any."""
        ends = self._scores[: len(self)].cumsum(0)
        numbers = torch.rand(n, dtype=ends.dtype, device=ends.device)
        # clamped, because a product may round up to the last end itself
        index = torch.searchsorted(ends, numbers * ends[-1], right=True).clamp_(max=len(self) - 1)
        scores = self._scores.index_select(0, index)
        if self.importance == "none":
            return index, None
        # (N P)^-beta over its largest in the batch: N and the sum of scores cancel
        weights = (scores.min() / scores).float() ** self._exponent
        return index, weights / weights.mean() if self.importance == "mean" else weights

    def probabilities(self) -> Tensor:
        """The probability [N] with which each stored image is read."""
        scores = self._scores[: len(self)]
        return scores / scores.sum()

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """The student's loss becomes the priority of the images it was measured on; of an image read twice the larger.

        Args:
            batch: As it was read.
            losses: [N].
        """
        assert batch.index is not None
        # a loss that is not a number is for the end of the round to report, not for an index out of range
        losses = losses.detach().float().abs().nan_to_num()
        # the larger, because on a GPU which write is the last is not defined
        self.priorities.scatter_reduce_(0, batch.index, losses, "amax", include_self=False)
        self._score(batch.index)

    def summary(self, classes: int) -> dict[str, Any]:
        """images, capacity, oldest, classes, priorities."""
        n = len(self)
        places = torch.linspace(0, n - 1, 5 if n else 0).round().long()
        # each selected by itself, which costs less than to sort a large buffer
        quarters = [self.priorities[:n].kthvalue(place + 1).values for place in places.tolist()]
        return {**super().summary(classes), "priorities": torch.stack(quarters).tolist() if quarters else []}

    def _on_write(self, place: Tensor) -> None:
        largest = self.priorities.max()
        self.priorities[place] = torch.where(largest > 0, largest, 1.0)
        self._score(place)

    def _score(self, place: Tensor) -> None:
        self._scores.index_copy_(0, place, self._scores_of(self.priorities.index_select(0, place)))

    def _score_all(self) -> None:
        self._scores = self._scores_of(self.priorities)

    def _scores_of(self, priorities: Tensor) -> Tensor:
        # in 64 bits, so that a sum over many images still tells the small ones apart; Apple's GPUs have 32
        dtype = torch.float32 if priorities.device.type == "mps" else torch.float64
        return (priorities.to(dtype) + 1e-6) ** self.alpha
