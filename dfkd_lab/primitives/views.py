"""Views (augmentations): images [N, C, H, W] -> images, on the device, differentiable, drawn for each sample."""

from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class View(Protocol):
    """The slot: any transform of images that keeps their shape.

    One with ``moves = False`` says that every pixel stays where it is, and its class with it.
    """

    def __call__(self, images: Tensor, /) -> Tensor:
        """Augment ``images`` [N, C, H, W] in [0, 1]."""
        ...


class Identity:
    """The images as they are."""

    moves = False

    def __call__(self, images: Tensor) -> Tensor:
        return images


class CropFlip:
    """Zero-pad, crop at a random place, mirror half of the images; the usual augmentation for CIFAR.

    Args:
        padding: In pixels, on each side; 0 leaves the place alone.
        flip: Whether to mirror, which changes what a digit means.
    """

    def __init__(self, padding: int, flip: bool):
        self.padding, self.flip = padding, flip
        self.moves = bool(padding or flip)

    def __call__(self, images: Tensor) -> Tensor:
        if not self.moves:
            return images
        n, _, height, width = images.shape
        wide = width + 2 * self.padding
        pixels, mirrored = _window(height, width, wide, images.device)
        if self.padding:
            # black in image units, as torchvision pads; in network units that is not 0
            images = F.pad(images, [self.padding] * 4)
            top, left = (torch.randint(0, 2 * self.padding + 1, (n, 1), device=images.device) for _ in range(2))
        if self.flip:
            pixels = torch.where(torch.rand(n, 1, device=images.device) < 0.5, mirrored, pixels)
        pixels = pixels + (top * wide + left) if self.padding else pixels
        return _gather(images, pixels).view(n, -1, height, width)


class Roll:
    """Roll the batch along both axes by a random number of pixels (DeepInversion's jitter), one draw for all images.

    Args:
        distance: The most pixels, in either direction.
        flip: Whether to mirror it too, half of the time.
    """

    def __init__(self, distance: int, flip: bool):
        self.distance, self.flip = distance, flip

    def __call__(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows, columns = (self._rolled(size, images.device) for size in (height, width))
        if self.flip:
            columns = torch.where(torch.rand(1, device=images.device) < 0.5, columns.flip(0), columns)
        # on the device, where torch.roll would wait for the host to know by how much
        return images.index_select(2, rows).index_select(3, columns)

    def _rolled(self, size: int, device: torch.device) -> Tensor:
        shift = torch.randint(-self.distance, self.distance + 1, (1,), device=device)
        return (torch.arange(size, device=device) + shift) % size


class ResizedCrop:
    """A random part of each image, enlarged to the whole size (bilinear): CMI's local view.

    Args:
        low: The smallest share of the image's area, in (0, 1]; the aspect ratio is drawn from [3/4, 4/3] times the
            image's, and the part is cut off at the border.
        flip: Whether to mirror half of the images too.
    """

    def __init__(self, low: float, flip: bool):
        self.low, self.flip = low, flip

    def __call__(self, images: Tensor) -> Tensor:
        n, _, height, width = images.shape
        area, aspect, top, left = torch.rand(4, n, 1, device=images.device)
        # log-uniform, so that wide is as likely as high
        area, aspect = self.low + (1 - self.low) * area, (4 / 3) ** (2 * aspect - 1)
        rows = _interpolation(height, (area / aspect).sqrt().clamp(max=1), top)
        columns = _interpolation(width, (area * aspect).sqrt().clamp(max=1), left)
        # as matrices, because grid_sample adds up gradients in an order that changes from run to run on a GPU
        return CropFlip(0, self.flip)(rows[:, None] @ images @ columns[:, None].mT)


def _interpolation(size: int, share: Tensor, start: Tensor) -> Tensor:
    """Matrices [N, size, size] that stretch a part of an axis to all of it, linearly between pixels.

    Args:
        size: Pixels along the axis.
        share: Of the axis, [N, 1] in (0, 1].
        start: Of the part, [N, 1] in [0, 1]: from the first place it can have to the last.
    """
    pixels = torch.arange(size, device=share.device)
    source = (1 - share) * start * size + share * (pixels + 0.5) - 0.5
    return (1 - (source.clamp(0, size - 1)[:, :, None] - pixels).abs()).clamp(min=0)


@lru_cache(maxsize=16)
def _window(height: int, width: int, wide: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices [height * width] of a window's pixels in an image whose rows are ``wide``; and the same, mirrored."""
    pixels = torch.arange(height, device=device)[:, None] * wide + torch.arange(width, device=device)
    return pixels.flatten(), pixels.flip(1).flatten()


def _gather(images: Tensor, pixels: Tensor) -> Tensor:
    """The pixels [N, C, P] of each image [N, C, H, W] at its own indices [N, P], in one gather for both axes."""
    flat = images.flatten(2)
    return flat.gather(2, pixels[:, None].expand(-1, flat.shape[1], -1))
