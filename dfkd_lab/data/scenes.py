"""Digits on photographs, with the class of every pixel: made for demonstration, so no published number is of them.

What they are made of ships inside scikit-learn, and a test scene has neither the ink nor the texture of a training
scene: digits are split as :mod:`dfkd_lab.data.digits` splits them, the photographs into a left and a right half. All is
reckoned in whole numbers, because rounded floats would make other bytes on another machine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd_lab.data import digits
from dfkd_lab.data.split import Split

CLASS_NAMES = ("background", *"0123456789")
SIDE, CELL = 32, 16
"""Of a scene, and of each of its four quadrants, which holds one digit."""
DIGIT_SIDES = (14, 15, 16)
TRAINING, TEST = 3_000, 400
INK_SHARE = (7, 20)
"""Of full ink, .35: what is darker than that belongs to the digit."""


def read(train: bool) -> Split:
    """3,000 training or 400 test scenes [N, 1, 32, 32] as uint8, and the class of each pixel [N, 32, 32] as uint8.

    In each quadrant lies one digit of 14 to 16 pixels, wherever it fits, on a patch of a photograph at .3 of its
    brightness; the brighter of the two is seen. Class 0 is the background, which has .65 of the pixels, and class d + 1
    where the ink of the digit d exceeds .35.
    """
    n = TRAINING if train else TEST
    generator = torch.Generator().manual_seed(0 if train else 1)
    ink, classes = _quadrants(4 * n, train, generator)
    images = torch.maximum(_together(ink), _backgrounds(n, train, generator))
    return Split(images[:, None], _together(classes), CLASS_NAMES)


def _quadrants(n: int, train: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The ink and the classes [N, 16, 16] of ``n`` quadrants, as uint8."""
    originals, labels = digits.read_originals(train)
    which = torch.randint(len(labels), (n,), generator=generator)
    size = torch.randint(len(DIGIT_SIDES), (n,), generator=generator)
    down, right = torch.randint(6, (2, n), generator=generator)  # 6 places are as many times 1, 2 or 3
    ink, is_ink = (torch.zeros(n, CELL, CELL, dtype=torch.uint8) for _ in range(2))
    for number, side in enumerate(DIGIT_SIDES):
        enlarged, white = _enlarged(originals.long(), side)
        inks = ((255 * enlarged + white // 2) // white).byte()
        inside = (INK_SHARE[1] * enlarged > INK_SHARE[0] * white).byte()
        places = CELL - side + 1
        for y in range(places):
            for x in range(places):
                rows = ((size == number) & (down % places == y) & (right % places == x)).nonzero().flatten()
                ink[rows, y : y + side, x : x + side] = inks[which[rows]]
                is_ink[rows, y : y + side, x : x + side] = inside[which[rows]]
    return ink, is_ink * (labels[which] + 1).byte()[:, None, None]


def _enlarged(originals: Tensor, side: int) -> tuple[Tensor, int]:
    """``originals`` [N, 8, 8] from 0 to 16, enlarged bilinearly to [N, side, side], and what full ink is there."""
    before = originals.shape[1]
    # the middle of each pixel, in units of 1 / (2 * side) of a pixel of the original
    middles = ((2 * torch.arange(side) + 1) * before - side).clamp(0, 2 * side * (before - 1))
    first, rest = middles // (2 * side), middles % (2 * side)
    weights = torch.zeros(side, before, dtype=torch.long)
    weights[torch.arange(side), first] = 2 * side - rest
    weights[torch.arange(side), (first + 1).clamp(max=before - 1)] += rest
    return weights @ originals @ weights.T, 16 * (2 * side) ** 2


def _backgrounds(n: int, train: bool, generator: torch.Generator) -> Tensor:
    """Patches [N, 32, 32] of the left halves of the photographs, or of the right ones, in gray, as uint8."""
    from sklearn.datasets import load_sample_images

    photographs = torch.stack([torch.from_numpy(each.copy()).long() for each in load_sample_images().images])
    half = photographs.shape[2] // 2
    photographs = photographs[:, :, :half] if train else photographs[:, :, half:]
    gray = 299 * photographs[..., 0] + 587 * photographs[..., 1] + 114 * photographs[..., 2]  # of 255,000
    dark = ((3 * gray + 5_000) // 10_000).byte()
    _, height, width = dark.shape
    which = torch.randint(len(dark), (n, 1, 1), generator=generator)
    top = torch.randint(height - SIDE + 1, (n, 1, 1), generator=generator)
    left = torch.randint(width - SIDE + 1, (n, 1, 1), generator=generator)
    along = torch.arange(SIDE)
    return dark[which, top + along[:, None], left + along]


def _together(quadrants: Tensor) -> Tensor:
    """Scenes [N, 32, 32] of quadrants [4 N, 16, 16]."""
    return quadrants.view(-1, 2, 2, CELL, CELL).transpose(2, 3).reshape(-1, SIDE, SIDE)
