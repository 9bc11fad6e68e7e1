"""Images of tensors as PNG: one by itself, or many in one."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def png(images: Tensor, columns: int = 1) -> bytes:
    """Images [N, C, H, W], uint8, in so many columns without a gap; of others than 1 or 3 channels the first alone."""
    n, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).numpy() if channels == 3 else images[:, :1].permute(0, 2, 3, 1).numpy()
    rows = -(-n // columns)
    grid = np.zeros((rows * height, columns * width, pixels.shape[3]), np.uint8)
    for place, image in enumerate(pixels):
        top, left = place // columns * height, place % columns * width
        grid[top : top + height, left : left + width] = image
    file = io.BytesIO()
    Image.fromarray(grid.squeeze(2) if grid.shape[2] == 1 else grid).save(file, "png")
    return file.getvalue()


def reduced(images: Tensor, side: int) -> Tensor:
    """Images [N, C, H, W], uint8, whose longer side is at most ``side``; smaller ones as they are."""
    height, width = images.shape[2:]
    if max(height, width) <= side:
        return images
    size = max(1, round(side * height / max(height, width))), max(1, round(side * width / max(height, width)))
    return F.adaptive_avg_pool2d(images.float(), size).round().byte()


def uri(png: bytes) -> str:
    """A PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
