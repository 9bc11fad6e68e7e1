"""Views that are drawn once, when an image is stored, with the teacher's answer to them.

The teacher never changes, so its logits of a view that is kept are paid for once, however often the student reads it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import Batch, to_float, to_uint8
from dfkd_lab.primitives.memories.base import Draw
from dfkd_lab.primitives.memories.buffer import ImageBuffer
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.primitives.views import View


class CachedViews(nn.Module):
    """A buffer whose reads give one of a few stored views of each image, with the teacher's ``logits`` of it.

    Views are kept as uint8, which is exact for crops and flips, so that the whole costs (1 + ``views``) times the
    buffer's bytes and 4 bytes a class and view. Which image is read, and its weight, is the buffer's business.

    Args:
        buffer: Of the images.
        view: Draws the views.
        observer: Runs the teacher.
        views: Of each image.
        classes: K.
    """

    draws = False
    views: Tensor
    logits: Tensor

    def __init__(self, buffer: ImageBuffer, view: View, observer: Observer, views: int, classes: int):
        super().__init__()
        self.ring, self.count, self.reads_labels = buffer, views, buffer.reads_labels
        self._view, self._observer = view, observer
        self.register_buffer("views", buffer.images.new_empty(buffer.capacity * views, *buffer.images.shape[1:]))
        self.register_buffer("logits", torch.zeros(buffer.capacity * views, classes))

    def open(self, progress: float) -> None:
        """Begin a round."""
        self.ring.open(progress)

    def write(self, batch: Batch) -> None:
        """Keep the images, draw their views, and run the teacher on each."""
        self.ring.write(batch)
        images = to_float(self.ring.images[self.ring.latest])
        for number in range(self.count):
            place = self.ring.latest * self.count + number
            self.views[place] = to_uint8(self._view(images))
            self.logits[place] = self._observer(to_float(self.views[place])).logits

    def read(self, n: int, draw: Draw) -> Batch:
        """``n`` views, each one of its image's at random."""
        index, weights = self.ring.draw(n)
        place = index * self.count + torch.randint(self.count, (n,), device=self.views.device)
        views, labels = to_float(self.views.index_select(0, place)), self.ring.labels.index_select(0, index)
        return Batch(views, labels, index=index, weights=weights, logits=self.logits.index_select(0, place))

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """Learn the student's losses [N] on a batch that was read."""
        self.ring.feedback(batch, losses)

    def class_shares(self, classes: int) -> Tensor:
        """The buffer's."""
        return self.ring.class_shares(classes)

    def summary(self, classes: int) -> dict[str, Any]:
        """The buffer's."""
        return self.ring.summary(classes)
