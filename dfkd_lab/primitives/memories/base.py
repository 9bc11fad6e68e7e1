"""What a memory is, and the one that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import Batch

Draw = Callable[[int], Batch]
"""``draw(n)`` gives ``n`` new images of the synthesizer as it is now."""


class Memory(Protocol):
    """The slot: what is kept of the synthetic images and how it is read back."""

    reads_labels: str
    """Which labels a read has: those of the batch that was "written", of a "fresh" one, or "none"."""
    draws: bool
    """Whether a read calls ``draw``."""

    def open(self, progress: float) -> None:
        """Begin a round; ``progress`` is the share of the run that is done, in [0, 1]."""

    def write(self, batch: Batch) -> None:
        """Keep what the synthesizer made."""

    def read(self, n: int, draw: Draw) -> Batch:
        """``n`` images for one student step."""
        ...

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Learn the student's losses [N] on a batch that was read."""

    def class_shares(self, classes: int) -> Tensor:
        """The share [K] of each class, as the teacher predicts it, in what is remembered; zeros if that is nothing."""
        ...

    def summary(self, classes: int) -> dict[str, Any]:
        """What is remembered at the end of a round, in plain values for the log; empty if that is nothing.

        classes: images by the class the teacher predicted, a number each. images, capacity: stored and at most.
        oldest: rounds since the oldest image was written. priorities: smallest, quartiles and largest. replayed:
        images of the past in a student step. bytes: what remembering takes.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resumed run needs."""
        ...


class Live(nn.Module):
    """Nothing is kept: every read draws from the synthesizer as it is now.

    Args:
        shared: Whether a read returns the batch the synthesizer was just trained on instead (DAFL's joint step).
    """

    def __init__(self, shared: bool = False):
        super().__init__()
        self.shared, self.draws = shared, not shared
        self.reads_labels = "written" if shared else "fresh"
        self._last: Batch | None = None

    def open(self, progress: float) -> None:
        """Nothing to do."""

    def write(self, batch: Batch) -> None:
        """Hold the batch until the next one, if it is shared."""
        self._last = batch if self.shared else None

    def read(self, n: int, draw: Draw) -> Batch:
        """``n`` new images, or the shared batch."""
        return self._last if self._last is not None else draw(n)

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Nothing to do."""

    def class_shares(self, classes: int) -> Tensor:
        """Zeros [K]: nothing is remembered."""
        return torch.zeros(classes)

    def summary(self, classes: int) -> dict[str, Any]:
        """Empty: nothing is remembered."""
        return {}
