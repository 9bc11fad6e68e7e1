"""scikit-learn's digits: the one data set that is there without a file of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab.data.split import Split

SIDE, HELD_OUT = 16, 450


def read(train: bool) -> Split:
    """One split of the 1,797 handwritten digits as [N, 1, 16, 16] floats: 450 are held out, chosen by a fixed seed.

    The 8x8 originals are enlarged bilinearly, and kept as float, because what was measured on them was.
    """
    originals, labels = read_originals(train)
    images = F.interpolate(originals[:, None] / 16, size=SIDE, mode="bilinear", align_corners=False)
    return Split(images, labels)


def read_originals(train: bool) -> tuple[Tensor, Tensor]:
    """One split as it comes: images [N, 8, 8] of whole numbers from 0 (paper) to 16 (ink), as float, and labels [N]."""
    from sklearn.datasets import load_digits

    originals = load_digits()
    order = torch.randperm(len(originals.target), generator=torch.Generator().manual_seed(0))
    chosen = order[HELD_OUT:] if train else order[:HELD_OUT]
    return torch.from_numpy(originals.images).float()[chosen], torch.from_numpy(originals.target).long()[chosen]
