"""A folder of images in torchvision's ImageFolder layout: PATH/train/CLASS/*.png, and val/ or test/ beside train/."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfkd_lab.errors import SpecError

TRAINING, EVALUATION = ("train",), ("val", "test")
MODES = {1: "L", 3: "RGB"}


def find(path: str, splits: Sequence[str]) -> Path:
    """The first of ``splits`` that ``path`` has.

    Raises:
        SpecError: if it has none, or other classes than another split, whose labels would then mean something else.
    """
    root = Path(path).expanduser()
    present = [root / split for split in splits if (root / split).is_dir()]
    if not present:
        wanted = " or ".join(f"{split}/" for split in splits)
        raise SpecError(f"data = 'folder:{path}': there is no {wanted} in {root}; it must hold a folder for each class")
    classes = _classes(present[0])
    if not classes:
        raise SpecError(f"data = 'folder:{path}': {present[0]} holds no folders; it must hold one for each class")
    for other in (root / split for split in (*TRAINING, *EVALUATION)):
        if other.is_dir() and (odd := sorted({*_classes(other)} ^ {*classes})):
            raise SpecError(f"data = 'folder:{path}': only one of {present[0]} and {other} has the class '{odd[0]}'")
    return present[0]


def read(path: str, splits: Sequence[str], shape: tuple[int, int, int] | None) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] as uint8 and labels [N], in the order of the classes' names.

    Each image is resized (bilinear) until its shorter side fits ``shape`` [C, H, W], and cropped at its center.

    Raises:
        SpecError: if there is no such split, an image cannot be read, or ``shape`` is not one that images can have.
    """
    from torchvision.datasets import ImageFolder

    root = find(path, splits)
    if shape is None or shape[0] not in MODES:
        raise SpecError(f"data = 'folder:{path}': images are fitted to a shape [1 or 3, H, W], not to {shape}")
    try:
        rows = ImageFolder(root).samples
    except FileNotFoundError as error:
        raise SpecError(f"data = 'folder:{path}': {str(error).splitlines()[0]}") from None
    images = torch.empty(len(rows), *shape, dtype=torch.uint8)

    def load(place: int) -> None:
        images[place] = _fitted(Path(rows[place][0]), shape)

    with ThreadPoolExecutor() as pool:
        list(pool.map(load, range(len(rows))))
    return images, torch.tensor([label for _, label in rows])


def _classes(split: Path) -> list[str]:
    return sorted(each.name for each in split.iterdir() if each.is_dir())


def _fitted(path: Path, shape: tuple[int, int, int]) -> Tensor:
    from PIL import Image, ImageOps

    channels, height, width = shape
    try:
        with Image.open(path) as image:
            fitted = ImageOps.fit(image.convert(MODES[channels]), (width, height), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError) as error:  # SyntaxError is what a broken PNG raises
        raise SpecError(f"{path} is not a readable image ({str(error).splitlines()[0]})") from None
    return torch.from_numpy(np.array(fitted)).view(height, width, channels).permute(2, 0, 1)
