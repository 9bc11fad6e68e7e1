"""One mask file: an image whose values are the classes of the pixels of another, taken as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dfkd_lab.data import image_file
from dfkd_lab.data.image_file import PHOTOMETRIC, Frame, Unfit

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "TIFF")
"""That keep class numbers: JPEG and the like blur them, a GIF is often given new ones, Pillow stretches a PGM's."""
STRETCHED = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies values of 2 and 4 bits by, so that the largest is white."""


def read(path: Path, frame: Frame, size: tuple[int, int], classes: int, ignore: int) -> Tensor:
    """The classes [H, W] of the pixels of an image, as uint8, turned and fitted as it is, by the nearest pixel.

    Args:
        path: Of the mask: one channel of class numbers, or a palette, which counts by its places.
        frame: How the image lies in its file; the mask must lie so too.
        size: [H, W] that it is fitted to.
        classes: The numbers below it are allowed; at most 255.
        ignore: Another number that is allowed; at most 255.

    Raises:
        SpecError: if the file cannot be opened or decoded, is no such mask, or holds another number.
    """
    return image_file.decode(path, lambda image: _fitted(image, frame, size, classes, ignore))


def _fitted(image: Image.Image, frame: Frame, size: tuple[int, int], classes: int, ignore: int) -> Tensor:
    from PIL import Image, ImageOps

    numbers = _numbers(image)
    if (mine := image_file.frame_of(image)) != frame:
        raise Unfit(f"is {mine}, and its image {frame}; allowed: a mask that lies in its file as the image does")
    odd = numbers[((numbers < 0) | (numbers >= classes)) & (numbers != ignore)]
    if odd.size:
        raise Unfit(f"holds class {odd[0]}, allowed: 0 to {classes - 1}, and {ignore} for what is ignored")
    mask = Image.fromarray(numbers.astype(np.uint8))
    if frame.turn is not None:
        mask = mask.transpose(frame.turn)
    return torch.from_numpy(np.array(ImageOps.fit(mask, size[::-1], Image.Resampling.NEAREST)))


def _numbers(image: Image.Image) -> np.ndarray:
    """The values [H, W] as they are stored.

    Raises:
        Unfit: if they are no class numbers.
    """
    if image.format not in FORMATS:
        raise Unfit(f"is a mask in {image.format}, allowed: {' and '.join(FORMATS)}, which keep class numbers")
    if getattr(image, "is_animated", False):
        raise Unfit("holds several images, allowed: a mask of one")
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise Unfit(f"is a mask of mode {image.mode}, allowed: one channel of class numbers, or a palette")
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:
        raise Unfit("is a TIFF in which 0 is white, so that nobody knows which class is meant; save it as PNG")
    coding = getattr(image, "tile", [])[0][3]  # of the values, known before they are decoded
    image.load()
    stretched = STRETCHED.get(coding if isinstance(coding, str) else coding[0], 1)
    return np.asarray(image).astype(np.int64) // stretched
