"""Samples of dense predictions: each synthetic image beside what teacher and student make of its pixels."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

FIRST = (
    *((68, 68, 68), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    *((204, 121, 167), (255, 255, 255), (136, 34, 85), (170, 221, 136)),
)
"""Colors that color-blind eyes tell apart too: dark gray for class 0, those of Okabe and Ito, and three more."""
GAP = 2
"""Pixels between images."""


def colors(classes: int) -> list[tuple[int, int, int]]:
    """A color, red green blue to 255, for each of ``classes`` classes; beyond the first eleven by hue and lightness."""
    made = list(FIRST[:classes])
    for number in range(classes - len(made)):
        red, green, blue = colorsys.hls_to_rgb((0.618 * number) % 1, 0.35 + 0.15 * (number % 3), 0.6)
        made.append((round(255 * red), round(255 * green), round(255 * blue)))
    return made


def grid(images: Tensor, predicted: Tensor, student: Tensor) -> Image.Image:
    """Three columns: image, the teacher's map, the student's map; a row an image.

    Args:
        images: [N, C, H, W], uint8, of which three channels are shown, or the first where there are fewer.
        predicted: The teacher's classes, [N, H, W].
        student: The student's, likewise.
    """
    pictures = images.permute(0, 2, 3, 1).cpu().numpy()
    pictures = pictures[..., :1].repeat(3, axis=3) if pictures.shape[3] < 3 else pictures[..., :3]
    palette = np.asarray(colors(int(max(predicted.max(), student.max())) + 1), np.uint8)
    n, height, width, _ = pictures.shape
    made = np.full((n * (height + GAP) - GAP, 3 * (width + GAP) - GAP, 3), 128, np.uint8)
    for column, cells in enumerate((pictures, palette[predicted.cpu().numpy()], palette[student.cpu().numpy()])):
        for row, cell in enumerate(cells):
            top, left = row * (height + GAP), column * (width + GAP)
            made[top : top + height, left : left + width] = cell
    return Image.fromarray(made)


def cut(picture: Image.Image, facts: Mapping[str, Any], place: int) -> list[np.ndarray]:
    """Image, the teacher's map and the student's map [H, W, 3] in a row of a grid that :func:`grid` made.

    Args:
        picture: The grid.
        facts: As :func:`facts` gave them.
        place: Of the row.

    Raises:
        ValueError: if the grid has no such row.
    """
    high, wide = int(facts["height"]), int(facts["width"])
    pixels = np.asarray(picture.convert("RGB"))
    row = pixels[place * (high + GAP) :][:high]
    if row.shape[:2] != (high, 3 * (wide + GAP) - GAP):
        raise ValueError("it is another grid than what is beside it says")
    return [row[:, column * (wide + GAP) :][:, :wide] for column in range(3)]


def facts(names: Sequence[str], images: Tensor, predicted: Tensor, student: Tensor) -> dict[str, Any]:
    """Sizes, class names with their colors, and the share of pixels on which both networks agree."""
    n, _, height, width = images.shape
    legend = [{"name": name, "color": list(color)} for name, color in zip(names, colors(len(names)), strict=True)]
    agreement = round(float((predicted == student).float().mean()), 4)
    return {"height": height, "width": width, "images": n, "legend": legend, "agreement": agreement}
