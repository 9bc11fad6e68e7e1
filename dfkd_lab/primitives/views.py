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
        if not (self.padding or self.flip):
            return images
        n, _, height, width = images.shape
        if self.padding:
            images = F.pad(images, [self.padding] * 4)
        rows = _offsets(n, self.padding, height, images.device)
        columns = _offsets(n, self.padding, width, images.device)
        if self.flip:
            mirrored = torch.rand(n, 1, device=images.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        return _take(images, rows, columns)


class Roll:
    """Roll every image by up to ``distance`` pixels in both directions (DeepInversion's jitter), maybe flipped."""

    def __init__(self, distance: int, flip: bool):
        self.distance, self.flip = distance, flip

    def __call__(self, images: Tensor) -> Tensor:
        n, _, *sizes = images.shape
        rows, columns = (
            (torch.arange(size, device=images.device) + self._shift(n, images.device)) % size for size in sizes
        )
        return CropFlip(0, self.flip)(_take(images, rows, columns))

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


def _offsets(n: int, padding: int, size: int, device: torch.device) -> Tensor:
    places = torch.arange(size, device=device).expand(n, -1)
    return places + torch.randint(0, 2 * padding + 1, (n, 1), device=device) if padding else places


def _take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of each image at its own ``rows`` [N, H] and ``columns`` [N, W], in one gather for both axes."""
    place = rows[:, :, None] * images.shape[3] + columns[:, None, :]
    flat = images.flatten(2)
    taken = flat.gather(2, place.flatten(1)[:, None].expand(-1, flat.shape[1], -1))
    return taken.view(*images.shape[:2], *place.shape[1:])
