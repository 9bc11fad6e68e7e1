"""A buffer of the last images, on the device as uint8: it costs N*C*H*W bytes and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import Batch, to_float, to_uint8
from dfkd_lab.primitives.memories.base import Draw


class ImageBuffer(nn.Module):
    """``capacity`` images, read uniformly; a write to a full one replaces the oldest (a ring buffer), or the worst.

    The worst are those whose target class the teacher found least likely when they were made; where there is none, its
    own class.

    A label is -1 where no class was the target; those of pixels, which real images have, are not kept. ``latest`` are
    the places [N] of the last write. With ``on_host`` the images stay in the host's memory, where it is pinned for a
    CUDA GPU: then a read that draws on the host is gathered and copied while the device is still at the step before;
    one by priorities waits for their places.

    Args:
        capacity: In images.
        shape: Of an image, [C, H, W].
        evict: "oldest" or "worst".
        pixel_classes: K where the teacher labels every pixel, so that an image counts in each class by its share.
    """

    reads_labels, draws = "written", False
    reads_images = True
    """Whether a read gives the stored images themselves."""
    on_host = False
    latest: Tensor
    images: Tensor
    labels: Tensor
    predicted: Tensor
    written: Tensor
    born: Tensor
    rounds: Tensor
    certainty: Tensor | None
    """The probability [capacity] by which an image is kept, where the worst is evicted."""
    shares: Tensor | None
    """The share [capacity, K] of each class in an image, of dense predictions."""
    _shares: Tensor | None

    def __init__(self, capacity: int, shape: tuple[int, int, int], evict: str = "oldest", pixel_classes: int = 0):
        super().__init__()
        self.capacity, self.evict = capacity, evict
        if pixel_classes:
            self.reads_labels = "none"
        self.register_buffer("certainty", torch.zeros(capacity) if evict == "worst" else None)
        # by numpy, whose zeros take no memory until they are written to: a plan holds a buffer too
        self.register_buffer("images", torch.from_numpy(np.zeros((capacity, *shape), np.uint8)))
        self.register_buffer("labels", torch.full((capacity,), -1))
        self.register_buffer("predicted", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("shares", torch.zeros(capacity, pixel_classes) if pixel_classes else None)
        self.register_buffer("written", torch.zeros((), dtype=torch.long, device="cpu"))
        self.register_buffer("born", torch.zeros(capacity, dtype=torch.int32, device="cpu"))
        self.register_buffer("rounds", torch.zeros((), dtype=torch.int32, device="cpu"))
        self._count = 0  # what `written` holds, for Python
        self.register_buffer("_shares", None, persistent=False)
        self.register_load_state_dict_post_hook(lambda buffer, missing: buffer.restored())

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ImageBuffer:
        images = self.images
        if self.on_host:
            self._buffers["images"] = None
        super()._apply(fn, recurse)
        if self.on_host:
            self.images = images.pin_memory() if self.device.type == "cuda" else images
        # these steer Python; on a device each read of them would wait for it
        self.written, self.born, self.rounds = self.written.cpu(), self.born.cpu(), self.rounds.cpu()
        return self

    @property
    def device(self) -> torch.device:
        """Where reads are made."""
        return self.labels.device

    def open(self, progress: float) -> None:
        """Everything that is stored is a round older."""
        self.rounds += 1

    def write(self, batch: Batch) -> None:
        """Replace images; of a batch larger than the buffer the last ``capacity`` stay."""
        n = min(len(batch.images), self.capacity)
        if self.certainty is not None and self._count >= self.capacity:
            place = self.certainty.topk(n, largest=False).indices
        else:
            place = self._next(n, self.device)
        if self.certainty is not None and batch.certainty is not None:
            self.certainty[place] = batch.certainty[-n:]
        self.born[self._next(n, self.born.device) if self.certainty is None else place.cpu()] = self.rounds
        self.images[place.to(self.images.device)] = to_uint8(batch.images[-n:]).to(self.images.device)
        if batch.labels is not None and batch.labels.ndim == 1:
            self.labels[place] = batch.labels[-n:]
        if batch.predicted is not None:
            self.predicted[place] = batch.predicted[-n:]
        if self.shares is not None and batch.shares is not None:
            self.shares[place] = batch.shares[-n:]
        self.written += n
        self.latest = place
        self._count += n
        self._shares = None
        self._on_write(place)

    def read(self, n: int, draw: Draw) -> Batch:
        """``n`` stored images, drawn with replacement."""
        index, weights = self.draw(n)
        # on a CPU several times as fast as indexing uint8
        images = self.images.index_select(0, index.to(self.images.device))
        if self.on_host:
            images = images.pin_memory() if self.device.type == "cuda" else images
            images, index = images.to(self.device, non_blocking=True), index.to(self.device, non_blocking=True)
        return Batch(to_float(images), self.labels.index_select(0, index), index=index, weights=weights)

    def draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        """The places [n] of a read, and their weights [n] in the loss, or None if all weigh the same."""
        # where the images are: an index that a device draws would have to be waited for
        return torch.randint(0, len(self), (n,), device=self.images.device), None

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Nothing to do: every image is as likely as any other."""

    def class_shares(self, classes: int) -> Tensor:
        """The share [K] of stored images, or of their pixels, in each class the teacher predicted; of nothing zeros."""
        if self.shares is not None:
            return self.shares[: len(self)].sum(0) / max(1, len(self))
        if self._shares is None:  # asked at every step, changed by a write
            stored = self.predicted[: len(self)]
            # not bincount, which waits for the device to learn how many classes there are
            counts = torch.zeros(classes, device=stored.device).scatter_add_(0, stored, torch.ones_like(stored).float())
            self._shares = counts / max(1, len(self))
        return self._shares

    def summary(self, classes: int) -> dict[str, Any]:
        """images, capacity, oldest, classes."""
        n = len(self)
        of_pixels = None if self.shares is None else (n * self.class_shares(classes)).tolist()
        return {
            "images": n,
            "capacity": self.capacity,
            "oldest": int(self.rounds - self.born[:n].min()) if n else 0,
            "classes": of_pixels or torch.bincount(self.predicted[:n], minlength=classes).tolist(),
        }

    def restored(self) -> None:
        """A state was loaded: what follows from it is made anew."""
        self._count, self._shares = int(self.written), None

    def _next(self, n: int, device: torch.device) -> Tensor:
        """The places of the next ``n`` images; made where they are needed, because a copy would wait."""
        return (torch.arange(n, device=device) + self._count) % self.capacity

    def _on_write(self, place: Tensor) -> None:
        """Called with the places [N] of a write."""
