"""Memories: what is kept of the synthetic images and how it is read back.

Images live on the device as uint8: a buffer costs N*C*H*W bytes and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.sum_tree import SumTree


@dataclass
class Batch:
    """Images [N, C, H, W] in [0, 1] with what is known of each row."""

    images: Tensor
    labels: Tensor | None = None
    """The class [N] that was asked for."""
    predicted: Tensor | None = None
    """The class [N] the teacher saw when the image was made."""
    index: Tensor | None = None
    """The place [N] in the memory it was read from."""
    weights: Tensor | None = None
    """The weight [N] of each sample in the student's loss."""
    codes: Tensor | None = None
    """The code [N, Z] each image was decoded from."""
    confidence: Tensor | None = None
    """The teacher's largest probability [N], of images that are shown."""
    logits: Tensor | None = None
    """The teacher's logits [N, K] of these images as they are, which are then not to be viewed anew."""


def in_unit(images: Tensor) -> Tensor:
    """Images in [0, 1]: uint8 divided by 255, others as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


Fresh = Callable[[int], Batch]


class Memory(Protocol):
    """The slot. ``progress`` is the share of the run that is done; ``fresh`` draws new images from the synthesizer."""

    reads_labels: str
    """Which labels a read has: those of the "written" batch, of a "fresh" one, or "none"."""
    draws: bool
    """Whether a read calls ``fresh``."""

    @property
    def stage(self) -> Hashable:
        """What reads and feedback between two writes go by besides tensors; None if that cannot be said.

        While it is the same they call the same operators on the same tensors.
        """
        ...

    def open(self, progress: float) -> None:
        """Begin a round."""

    def write(self, batch: Batch) -> None:
        """Keep what the synthesizer made."""

    def read(self, n: int, fresh: Fresh) -> Batch:
        """``n`` images for one student step."""
        ...

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Hear the student's loss [N] on a batch that was read."""

    def class_shares(self, classes: int) -> Tensor:
        """The share [K] of each class the teacher saw in what is remembered; zeros if that is nothing."""
        ...

    def summary(self, classes: int) -> dict[str, Any]:
        """What is remembered at the end of a round, in plain values for the log; empty if that is nothing.

        classes: images by the class the teacher saw, a number each. images, capacity: places taken and in all.
        oldest: rounds since the oldest image was written. priorities: smallest, quartiles and largest. replayed:
        images of the past a student step gets. bytes: what remembering takes.
        """
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resumed run needs."""
        ...


class Live(nn.Module):
    """Nothing is kept: every read draws from the synthesizer as it is now.

    With ``shared`` a read returns the batch the synthesizer was just trained on (DAFL's joint step).
    """

    stage: Hashable = "live"

    def __init__(self, shared: bool = False):
        super().__init__()
        self.shared, self.draws = shared, not shared
        self.reads_labels = "written" if shared else "fresh"
        self._last: Batch | None = None

    def open(self, progress: float) -> None:
        """Nothing to do."""

    def write(self, batch: Batch) -> None:
        """Remember the batch until the next one, if it is shared."""
        self._last = batch if self.shared else None

    def read(self, n: int, fresh: Fresh) -> Batch:
        """``n`` new images, or the shared batch."""
        return self._last if self._last is not None else fresh(n)

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Nothing to do."""

    def class_shares(self, classes: int) -> Tensor:
        """Zeros [K]: nothing is remembered."""
        return torch.zeros(classes)

    def summary(self, classes: int) -> dict[str, Any]:
        """Empty: nothing is remembered."""
        return {}


class ImageRing(nn.Module):
    """The last ``capacity`` images, read uniformly; each write replaces the oldest.

    A label is -1 where none was asked for. ``latest`` are the places [N] of the last write.
    """

    reads_labels, draws = "written", False
    stage: Hashable = "stored"
    reads_images = True
    """Whether a read gives the stored images themselves."""
    latest: Tensor
    images: Tensor
    labels: Tensor
    predicted: Tensor
    written: Tensor
    born: Tensor
    rounds: Tensor
    _shares: Tensor | None

    def __init__(self, capacity: int, shape: tuple[int, int, int]):
        super().__init__()
        self.capacity = capacity
        self.register_buffer("images", torch.zeros(capacity, *shape, dtype=torch.uint8))
        self.register_buffer("labels", torch.full((capacity,), -1))
        self.register_buffer("predicted", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("written", torch.zeros((), dtype=torch.long, device="cpu"))
        self.register_buffer("born", torch.zeros(capacity, dtype=torch.int32, device="cpu"))
        self.register_buffer("rounds", torch.zeros((), dtype=torch.int32, device="cpu"))
        self._count = 0  # what `written` holds, for Python
        self.register_buffer("_shares", None, persistent=False)
        self.register_load_state_dict_post_hook(lambda ring, missing: ring.restored())

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ImageRing:
        super()._apply(fn, recurse)
        # these steer Python; on a device each look would wait for it
        self.written, self.born, self.rounds = self.written.cpu(), self.born.cpu(), self.rounds.cpu()
        return self

    def open(self, progress: float) -> None:
        """Everything that is stored is a round older."""
        self.rounds += 1

    def write(self, batch: Batch) -> None:
        """Replace the oldest images; of a batch larger than the ring the last ``capacity`` stay."""
        n = min(len(batch.images), self.capacity)
        self.born[self._next(n, self.born.device)] = self.rounds
        place = self._next(n, self.images.device)
        self.images[place] = batch.images[-n:].clamp(0, 1).mul_(255).round_().to(torch.uint8)
        if batch.labels is not None:
            self.labels[place] = batch.labels[-n:]
        if batch.predicted is not None:
            self.predicted[place] = batch.predicted[-n:]
        self.written += n
        self.latest = place
        self._count += n
        self._shares = None
        self._written_to(place)

    def read(self, n: int, fresh: Fresh) -> Batch:
        """``n`` stored images, drawn with replacement."""
        index, weights = self.draw(n)
        images = in_unit(self.images.index_select(0, index))  # on a CPU several times as fast as indexing uint8
        return Batch(images, self.labels.index_select(0, index), index=index, weights=weights)

    def draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        """The places [n] of a read, and their weights [n] if they are not alike."""
        return torch.randint(0, len(self), (n,), device=self.images.device), None

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Nothing to do: every image is as likely as any other."""

    def class_shares(self, classes: int) -> Tensor:
        """The share [K] of stored images in each class the teacher saw; zeros while the ring is empty."""
        if self._shares is None:  # asked at every step, changed by a write
            stored = self.predicted[: len(self)]
            counts = torch.zeros(classes, device=stored.device).scatter_add_(0, stored, torch.ones_like(stored).float())
            self._shares = counts / max(1, len(self))
        return self._shares

    def summary(self, classes: int) -> dict[str, Any]:
        """images, capacity, oldest, classes."""
        n = len(self)
        return {
            "images": n,
            "capacity": self.capacity,
            "oldest": int(self.rounds - self.born[:n].min()) if n else 0,
            "classes": torch.bincount(self.predicted[:n], minlength=classes).tolist(),
        }

    def restored(self) -> None:
        """Told that a state was loaded: what follows from it is made anew."""
        self._count, self._shares = int(self.written), None

    def _next(self, n: int, device: torch.device) -> Tensor:
        """The places of the next ``n`` images; made where they are needed, because a copy would wait."""
        return (torch.arange(n, device=device) + self._count) % self.capacity

    def _written_to(self, place: Tensor) -> None:
        """Told where a write went."""


class PriorityRing(ImageRing):
    """A ring read by priority (prioritized replay, Schaul et al., arXiv:1511.05952; its proportional variant).

    P(i) ~ (p_i + 1e-6)^alpha, p_i the student's last loss on image i; a new image enters with the largest priority so
    that it is seen soon; importance weights (N P(i))^-beta, divided by their largest in the batch, correct the bias,
    with beta rising from ``beta`` to 1 over the run.
    """

    priorities: Tensor
    _exponent: Tensor

    def __init__(self, capacity: int, shape: tuple[int, int, int], alpha: float, beta: float):
        super().__init__(capacity, shape)
        self.alpha, self.beta = alpha, beta
        self.register_buffer("_exponent", torch.tensor(beta), persistent=False)  # a tensor, for a tape of the step
        self.register_buffer("priorities", torch.zeros(capacity))
        self.tree = SumTree(capacity)

    def open(self, progress: float) -> None:
        """Let beta rise."""
        super().open(progress)
        self._exponent.fill_(self.beta + (1 - self.beta) * progress)
        self._grow()  # so that a resumed run has the same sums to the last bit, in whatever order a device adds

    def restored(self) -> None:
        """Make the tree anew too."""
        super().restored()
        self._grow()

    def draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        """The places [n] of a read, by priority, and their importance weights [n]."""
        index = self.tree.draw(n)
        scores = self.tree.scores.index_select(0, index)
        return index, (scores.min() / scores).float() ** self._exponent  # N and the sum divide out

    def chances(self) -> Tensor:
        """The probability of each stored image."""
        return self.tree.scores[: len(self)] / self.tree.total

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """The student's loss [N] becomes the priority of the images it was measured on, the largest of an image's."""
        assert batch.index is not None
        # a loss that is not a number is for the end of the round to tell, not for an index out of range
        losses = losses.detach().float().abs().nan_to_num()
        # the largest, because on a GPU which write is the last is not defined
        self.priorities.scatter_reduce_(0, batch.index, losses, "amax", include_self=False)
        self.tree.update(batch.index, self._scores(self.priorities.index_select(0, batch.index)))

    def summary(self, classes: int) -> dict[str, Any]:
        """images, capacity, oldest, classes, priorities."""
        n = len(self)
        places = torch.linspace(0, n - 1, 5 if n else 0).round().long()
        return {**super().summary(classes), "priorities": self.priorities[:n].sort().values[places].tolist()}

    def _written_to(self, place: Tensor) -> None:
        largest = self.priorities.max()
        self.priorities[place] = torch.where(largest > 0, largest, 1.0)
        self.tree.update(place, self._scores(self.priorities[place]))

    def _grow(self) -> None:
        self.tree.fill(self._scores(self.priorities[: len(self)]))

    def _scores(self, priorities: Tensor) -> Tensor:
        return (priorities.double() + 1e-6) ** self.alpha
