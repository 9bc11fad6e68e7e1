"""Views that are drawn once, when an image is stored, with what the teacher says of them.

The teacher never changes, so its logits of a view that is kept are paid for once, however often the student reads it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch, Fresh, ImageRing, in_unit
from dfkd_lab.primitives.observe import Observer
from dfkd_lab.primitives.views import View


class CachedViews(nn.Module):
    """A ring whose reads give one of ``views`` stored views of each image, with the teacher's ``logits`` of it.

    Views are kept as uint8, which is exact for crops and flips, so that the whole costs (1 + ``views``) times the
    ring's bytes and 4 bytes a class and view. Which image is read, and its weight, is the ring's business.
    """

    draws = False
    stage: Hashable = "stored"
    views: Tensor
    logits: Tensor

    def __init__(self, ring: ImageRing, view: View, observer: Observer, views: int, classes: int):
        super().__init__()
        self.ring, self.count, self.reads_labels = ring, views, ring.reads_labels
        self._view, self._observer = view, observer
        self.register_buffer("views", ring.images.new_empty(ring.capacity * views, *ring.images.shape[1:]))
        self.register_buffer("logits", torch.zeros(ring.capacity * views, classes))

    def open(self, progress: float) -> None:
        """Begin a round."""
        self.ring.open(progress)

    def write(self, batch: Batch) -> None:
        """Keep the images, draw their views, and ask the teacher about each."""
        self.ring.write(batch)
        images = in_unit(self.ring.images[self.ring.latest])
        for number in range(self.count):
            place = self.ring.latest * self.count + number
            self.views[place] = (self._view(images).clamp(0, 1) * 255).round().to(torch.uint8)
            self.logits[place] = self._observer(in_unit(self.views[place])).logits

    def read(self, n: int, fresh: Fresh) -> Batch:
        """``n`` views, each one of its image's at random."""
        index, weights = self.ring.draw(n)
        place = index * self.count + torch.randint(self.count, (n,), device=self.views.device)
        views, labels = in_unit(self.views.index_select(0, place)), self.ring.labels.index_select(0, index)
        return Batch(views, labels, index=index, weights=weights, logits=self.logits.index_select(0, place))

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Hear the student's loss [N] on a batch that was read."""
        self.ring.feedback(batch, losses)

    def class_shares(self, classes: int) -> Tensor:
        """The ring's."""
        return self.ring.class_shares(classes)

    def summary(self, classes: int) -> dict[str, Any]:
        """The ring's."""
        return self.ring.summary(classes)
