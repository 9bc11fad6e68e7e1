"""Replay: every student step sees new images, and beside them some of the past, in one forward pass.

The past is kept as images (MB-DFKD, here), as the weights of a VAE that makes more like them (PRE-DFKD, ``vae.py``), or
as an average of the generator's weights (MAD, ``ema.py``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import Batch, to_float
from dfkd_lab.primitives.memories.base import Draw
from dfkd_lab.primitives.memories.buffer import ImageBuffer


class ReplayMixture(nn.Module, ABC):
    """A memory whose read is ``n`` live images followed by ``replayed`` of the past.

    Args:
        replayed: Images of the past in a read.
        classes: K.
    """

    reads_labels, draws = "none", True
    seen: Tensor
    """Images synthesized so far by the class the teacher predicted, [K]."""

    def __init__(self, replayed: int, classes: int):
        super().__init__()
        self.replayed = replayed
        self.register_buffer("seen", torch.zeros(classes))
        self._live: Tensor | None = None

    def open(self, progress: float) -> None:
        """Nothing to do."""

    def write(self, batch: Batch) -> None:
        """Count the classes; what is remembered are images the student saw."""
        if batch.shares is not None:
            self.seen += batch.shares.sum(0)
        elif batch.predicted is not None:
            # not bincount, which waits for the device to learn how many classes there are
            self.seen.scatter_add_(0, batch.predicted, self.seen.new_ones(len(batch.predicted)))

    def class_shares(self, classes: int) -> Tensor:
        """The share [K] of each class in all that was ever synthesized: the past stands for all of it."""
        return self.seen / self.seen.sum().clamp(min=1)

    def summary(self, classes: int) -> dict[str, Any]:
        """bytes, replayed, and classes of all that was ever synthesized."""
        return {"bytes": self.bytes, "replayed": self.replayed, "classes": self.seen.long().tolist()}

    def read(self, n: int, draw: Draw) -> Batch:
        """``n`` new images, and the past if there is one yet."""
        self._live = draw(n).images
        past = self.replay(self.replayed)
        # one batch: the student's batch norms see old and new images together
        return Batch(self._live if past is None else torch.cat([self._live, past]))

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """The student has seen the batch: learn from its live part."""
        assert self._live is not None, "feedback() before the first read()"
        self.learn(self._live)
        self._live = None

    @abstractmethod
    def replay(self, n: int) -> Tensor | None:
        """``n`` images [n, C, H, W] of the past without gradient, or None while there are none."""

    @abstractmethod
    def learn(self, live: Tensor) -> None:
        """Remember these new images [N, C, H, W]."""

    @property
    def bytes(self) -> int:
        """What remembering takes: weights and stored images; optimizer states come on top while it is trained."""
        return sum(kept.numel() * kept.element_size() for kept in chain(self.parameters(), self.buffers()))


class ImageBank(ReplayMixture):
    """A few batches of old images, first in, first out; a read takes one whole batch of them (MB-DFKD).

    At the end of every ``period``-th round, the first among them, the bank takes ``replayed`` images of the last live
    batch.

    Args:
        replayed: Images of a stored batch, and of the past in a read.
        batches: How many batches are stored.
        period: In rounds.
        shape: Of an image, [C, H, W].
        classes: K.

    Differs: images are kept as uint8, so values outside [0, 1] are clipped.
    """

    last: Tensor

    def __init__(self, replayed: int, batches: int, period: int, shape: tuple[int, int, int], classes: int):
        super().__init__(replayed, classes)
        self.period, self.rounds = period, 0
        self.ring = ImageBuffer(batches * replayed, shape)
        self.register_buffer("last", torch.zeros(replayed, *shape))

    def open(self, progress: float) -> None:
        """Take what the round before saw last, if it is its turn."""
        if self.rounds and (self.rounds - 1) % self.period == 0:
            self.ring.write(Batch(self.last))
        self.ring.open(progress)
        self.rounds += 1

    def replay(self, n: int) -> Tensor | None:
        """One stored batch, each as likely as the others; None while the bank is empty."""
        if not len(self.ring):
            return None
        device = self.ring.images.device
        start = (torch.rand((), device=device) * (len(self.ring) // n)).long() * n
        return to_float(self.ring.images.index_select(0, start + torch.arange(n, device=device)))

    def learn(self, live: Tensor) -> None:
        """Hold the first of these images until the round's end; a batch smaller than that is repeated."""
        self.last.copy_(live[torch.arange(len(self.last), device=live.device) % len(live)])

    def summary(self, classes: int) -> dict[str, Any]:
        """bytes, replayed, images, capacity, oldest, and classes of all that was ever synthesized."""
        return {**self.ring.summary(classes), **super().summary(classes)}

    def get_extra_state(self) -> int:
        """The rounds so far."""
        return self.rounds

    def set_extra_state(self, state: int) -> None:
        """Take what :meth:`get_extra_state` gave."""
        self.rounds = state
