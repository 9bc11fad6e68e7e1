"""Views: images [N, C, H, W] -> images, on the device, differentiable, a draw of its own for each sample."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class View(Protocol):
    """Any transform of images that keeps their shape."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """The images as the networks will see them."""
        ...


class Identity:
    """The images as they are."""

    def __call__(self, images: Tensor) -> Tensor:
        return images


class CropFlip:
    """Zero-pad by ``padding`` pixels, crop at a place of its own for each sample, flip half of them if ``flip``."""

    def __init__(self, padding: int, flip: bool):
        self.padding, self.flip = padding, flip

    def __call__(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        if self.padding:
            images = F.pad(images, [self.padding] * 4)
            images = _take(images, _offsets(n, self.padding, height, images.device), 2)
            images = _take(images, _offsets(n, self.padding, width, images.device), 3)
        if self.flip:
            columns = torch.arange(width, device=images.device).expand(n, -1)
            mirrored = torch.rand(n, 1, device=images.device) < 0.5
            images = _take(images, torch.where(mirrored, columns.flip(1), columns), 3)
        return images


class Roll:
    """Roll every image by up to ``distance`` pixels in both directions (DeepInversion's jitter), maybe flipped."""

    def __init__(self, distance: int, flip: bool):
        self.distance, self.flip = distance, flip

    def __call__(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        for axis, size in ((2, height), (3, width)):
            shift = torch.randint(-self.distance, self.distance + 1, (n, 1), device=images.device)
            images = _take(images, (torch.arange(size, device=images.device) + shift) % size, axis)
        return CropFlip(0, self.flip)(images)


class ResizedCrop:
    """A part of each image, enlarged to the whole size (bilinear), maybe flipped: CMI's local view.

    The part has a share in [``low``, 1] of the area, an aspect in [3/4, 4/3] times the image's, cut off at its border,
    and a place of its own.
    """

    def __init__(self, low: float, flip: bool):
        self.low, self.flip = low, flip

    def __call__(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        area, aspect, top, left = torch.rand(4, n, 1, device=images.device)
        area, aspect = self.low + (1 - self.low) * area, (4 / 3) ** (2 * aspect - 1)
        rows = _enlarging(height, (area / aspect).sqrt().clamp(max=1), top)
        columns = _enlarging(width, (area * aspect).sqrt().clamp(max=1), left)
        # as matrices, because grid_sample adds up gradients in an order that changes from run to run on a GPU
        return CropFlip(0, self.flip)(rows[:, None] @ images @ columns[:, None].mT)


def _enlarging(size: int, share: Tensor, place: Tensor) -> Tensor:
    """Matrices [N, size, size] that stretch ``share`` [N, 1] of an axis to all of it, linearly between pixels.

    ``place`` [N, 1] in [0, 1] runs from the first part of the axis to the last.
    """
    pixels = torch.arange(size, device=share.device)
    wanted = (1 - share) * place * size + share * (pixels + 0.5) - 0.5
    return (1 - (wanted.clamp(0, size - 1)[:, :, None] - pixels).abs()).clamp(min=0)


def _offsets(n: int, padding: int, size: int, device: torch.device) -> Tensor:
    start = torch.randint(0, 2 * padding + 1, (n, 1), device=device)
    return start + torch.arange(size, device=device)


def _take(images: Tensor, index: Tensor, axis: int) -> Tensor:
    """Rows (axis 2) or columns (axis 3) of each image by its own ``index`` [N, size]."""
    shape = [len(images), images.shape[1], images.shape[2], images.shape[3]]
    shape[axis] = index.shape[1]
    view = [len(images), 1, 1, 1]
    view[axis] = index.shape[1]
    return images.gather(axis, index.view(view).expand(shape))
