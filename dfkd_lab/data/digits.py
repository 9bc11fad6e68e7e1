"""scikit-learn's digits: the one data set that is there without a file of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from dfkd_lab.data.split import Split

SIDE, HELD_OUT = 16, 450


def read(train: bool) -> Split:
    """One split of the 1,797 handwritten digits as [N, 1, 16, 16] floats: 450 are held out, chosen by a fixed seed.

    The 8x8 originals are enlarged bilinearly, and kept as float, because what was measured on them was.
    """
    from sklearn.datasets import load_digits

    originals = load_digits()
    images = torch.from_numpy(originals.images).float()[:, None] / 16
    images = F.interpolate(images, size=SIDE, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(originals.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    chosen = order[HELD_OUT:] if train else order[:HELD_OUT]
    return Split(images[chosen], labels[chosen])
