"""Views: images [N, C, H, W] -> images, on the device, differentiable, a draw of its own for each sample."""

from functools import lru_cache
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
        if not (self.padding or self.flip):
            return images
        n, _, height, width = images.shape
        wide = width + 2 * self.padding
        place, mirrored = _places(height, width, wide, images.device)
        if self.padding:
            images = F.pad(images, [self.padding] * 4)
            top, left = (torch.randint(0, 2 * self.padding + 1, (n, 1), device=images.device) for _ in range(2))
        if self.flip:
            place = torch.where(torch.rand(n, 1, device=images.device) < 0.5, mirrored, place)
        place = place + (top * wide + left) if self.padding else place
        return _take(images, place).view(n, -1, height, width)


class Roll:
    """Roll every image by up to ``distance`` pixels in both directions (DeepInversion's jitter), maybe flipped."""

    def __init__(self, distance: int, flip: bool):
        self.distance, self.flip = distance, flip

    def __call__(self, images: Tensor) -> Tensor:
        n, _, *sizes = images.shape
        rows, columns = (
            (torch.arange(size, device=images.device) + self._shift(n, images.device)) % size for size in sizes
        )
        place = rows[:, :, None] * sizes[1] + columns[:, None, :]
        return CropFlip(0, self.flip)(_take(images, place.flatten(1)).view_as(images))

    def _shift(self, n: int, device: torch.device) -> Tensor:
        return torch.randint(-self.distance, self.distance + 1, (n, 1), device=device)


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


@lru_cache(maxsize=16)
def _places(height: int, width: int, wide: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places [height * width] of a window at the start of rows of ``wide`` pixels; and the same, mirrored."""
    place = torch.arange(height, device=device)[:, None] * wide + torch.arange(width, device=device)
    return place.flatten(), place.flip(1).flatten()


def _take(images: Tensor, place: Tensor) -> Tensor:
    """The pixels [N, C, P] of each image [N, C, H, W] at its own places [N, P], in one gather for both axes."""
    flat = images.flatten(2)
    return flat.gather(2, place[:, None].expand(-1, flat.shape[1], -1))
