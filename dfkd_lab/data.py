"""Real data, for measuring and for training a teacher. The only module that reads any.

Distillation never sees this module: evaluation sets are loaded into memory before a run is sealed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab.spec import SpecError, unknown

EVALUATION_SETS = ("digits", "none")
TRAINING_SETS = ("digits",)


@dataclass(frozen=True)
class Split:
    """Images [N, C, H, W] in [0, 1] and their labels [N]."""

    images: Tensor
    labels: Tensor


def digits(side: int = 16, held_out: int = 450) -> tuple[Split, Split]:
    """scikit-learn's 1,797 handwritten digits as [N, 1, side, side]; a training and a held-out split, fixed by seed.

    The 8x8 originals are enlarged bilinearly.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).float()[:, None] / 16
    images = F.interpolate(images, size=side, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, train = order[:held_out], order[held_out:]
    return Split(images[train], labels[train]), Split(images[test], labels[test])


def training_set(name: str) -> Split:
    """The training split called ``name``, for reference recipes; no image of it is in the evaluation set.

    Raises:
        SpecError: for a name that has none.
    """
    if name not in TRAINING_SETS:
        raise SpecError(unknown(name, TRAINING_SETS, "data set with training images"))
    return digits()[0]


def evaluation_set(name: str) -> Split | None:
    """The held-out split called ``name``; None for "none".

    Raises:
        SpecError: for a name nobody knows.
    """
    if name not in EVALUATION_SETS:
        raise SpecError(unknown(name, EVALUATION_SETS, "data set"))
    return None if name == "none" else digits()[1]
