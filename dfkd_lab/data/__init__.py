"""Real data, for measuring and for training a teacher. The only package that reads any.

Distillation never sees it: evaluation sets are loaded into memory before a run is sealed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab.data import folder, published
from dfkd_lab.spec import SpecError, unknown

TRAINING_SETS = ("digits", *published.SETS)
EVALUATION_SETS = (*TRAINING_SETS, "none")
FOLDER = "folder:"
"""In front of a path it names a folder of images, which is not in the lists above."""


@dataclass(frozen=True)
class Split:
    """Images [N, C, H, W], uint8 or float in [0, 1], and their labels [N].

    uint8 keeps a set at a byte a pixel; :func:`dfkd_lab.primitives.memory.in_unit` makes floats of a batch.
    """

    images: Tensor
    labels: Tensor

    def hashes(self) -> dict[str, str]:
        """SHA-256 of images and labels, for a record of what was measured or learned from."""
        digest = lambda tensor: hashlib.sha256(tensor.contiguous().numpy()).hexdigest()  # noqa: E731
        return {"images_sha256": digest(self.images), "labels_sha256": digest(self.labels)}


def check(name: str) -> None:
    """Refuse what cannot be an evaluation set; a folder must be there, a published set may still be downloaded.

    Raises:
        SpecError: for a name nobody knows, or a folder without a val/ or test/ folder of classes.
    """
    if name.startswith(FOLDER):
        folder.find(name.removeprefix(FOLDER), folder.EVALUATION)
    elif name not in EVALUATION_SETS:
        raise SpecError("data: " + unknown(name, (*EVALUATION_SETS, FOLDER + "PATH"), "data set"))


def digits(side: int = 16, held_out: int = 450) -> tuple[Split, Split]:
    """scikit-learn's 1,797 handwritten digits as [N, 1, side, side]; a training and a held-out split, fixed by seed.

    The 8x8 originals are enlarged bilinearly, and kept as float, because what was measured on them was.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).float()[:, None] / 16
    images = F.interpolate(images, size=side, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, train = order[:held_out], order[held_out:]
    return Split(images[train], labels[train]), Split(images[test], labels[test])


def training_set(name: str, shape: tuple[int, int, int] | None = None) -> Split:
    """The training split called ``name``, for reference recipes; no image of it is in the evaluation set.

    ``shape`` [C, H, W] is what the images of a folder are fitted to; the other sets have their own.

    Raises:
        SpecError: for a name that has none, or if its files are not there or not what they should be.
    """
    if name.startswith(FOLDER):
        return Split(*folder.read(name.removeprefix(FOLDER), folder.TRAINING, shape))
    if name not in TRAINING_SETS:
        raise SpecError(unknown(name, (*TRAINING_SETS, FOLDER + "PATH"), "data set with training images"))
    return digits()[0] if name == "digits" else Split(*published.read(name, train=True))


def evaluation_set(name: str, shape: tuple[int, int, int] | None = None) -> Split | None:
    """The held-out split called ``name``; None for "none". ``shape`` as for :func:`training_set`.

    Raises:
        SpecError: for a name nobody knows, or if its files are not there or not what they should be.
    """
    check(name)
    if name == "none":
        return None
    if name.startswith(FOLDER):
        return Split(*folder.read(name.removeprefix(FOLDER), folder.EVALUATION, shape))
    return digits()[1] if name == "digits" else Split(*published.read(name, train=False))


def normalization(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 ``images`` [N, C, H, W] in [0, 1], to four digits."""
    levels = torch.arange(256).double() / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)])
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ levels
    std = (shares @ levels**2 - mean**2).clamp(min=1e-6).sqrt()
    return tuple(round(each, 4) for each in mean.tolist()), tuple(round(each, 4) for each in std.tolist())
