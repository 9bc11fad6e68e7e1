"""Images with labels, as every reader of a data set gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images [N, C, H, W], uint8 or float in [0, 1], and their labels: [N], or [N, H, W] of pixels (uint8 or long).

    uint8 keeps a set at a byte a pixel; :func:`dfkd_lab.primitives.batch.to_float` makes floats of a batch.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()
    """In the order of the labels; of a folder, which brings its own, and of what is labelled pixel by pixel."""
    reading: str = ""
    """Of a folder: what was read, what was left out, the order of the classes, what was done to images; in words."""
    ignore: int | None = None
    """A label that counts nowhere, and is no class."""

    @property
    def task(self) -> str:
        """What the labels are for: "classification", or "segmentation" where each pixel has its own."""
        return "segmentation" if self.labels.ndim == 3 else "classification"

    @property
    def classes(self) -> int:
        """How many there are: as many as have names, or as the largest label says."""
        if self.class_names:
            return len(self.class_names)
        return int(self.counted.max()) + 1

    @property
    def counted(self) -> Tensor:
        """The labels but for those that are ignored, of pixels in one row."""
        return self.labels if self.ignore is None else self.labels[self.labels != self.ignore]

    def hashes(self) -> dict[str, str]:
        """SHA-256 of images and labels, for a record of what was measured or learned from."""
        digest = lambda tensor: hashlib.sha256(tensor.contiguous().numpy()).hexdigest()  # noqa: E731
        return {"images_sha256": digest(self.images), "labels_sha256": digest(self.labels)}


def normalization(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 ``images`` [N, C, H, W] in [0, 1], to four digits."""
    levels = torch.arange(256).double() / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ levels
    std = (shares @ levels**2 - mean**2).clamp(min=1e-6).sqrt()
    return tuple(round(each, 4) for each in mean.tolist()), tuple(round(each, 4) for each in std.tolist())
