"""scikit-learn's digits: the one data set that is there without a file of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
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
    rows = torch.from_numpy(np.loadtxt(_file(), delimiter=","))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    chosen = rows[order[HELD_OUT:] if train else order[:HELD_OUT]]
    return chosen[:, :-1].float().view(-1, 8, 8), chosen[:, -1].long()


def _file() -> Path:
    """The file that ``sklearn.datasets.load_digits`` reads; to import scikit-learn for it takes seconds."""
    spec = find_spec("sklearn")
    return Path((spec and spec.origin) or "").parent / "datasets" / "data" / "digits.csv.gz"
