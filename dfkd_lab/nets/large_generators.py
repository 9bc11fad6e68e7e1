"""The published generators for larger images: DFAD's at 128 pixels and FastDFKD's at 224."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.errors import RecipeError
from dfkd_lab.nets.generators import ImageGenerator, UpsamplingConv2d, middle
from dfkd_lab.nets.initialization import dcgan_init

HALVINGS = 4
"""Both make images 16 times as high and wide as their first map."""


def large_generator(
    name: str,
    z_dim: int,
    shape: tuple[int, int, int],
    width: int,
    conditional: bool,
    latent_map: bool,
    details: Mapping[str, Any],
) -> DCGANGenerator | DeepGenerator:
    """The generator called "dcgan" or "deep".

    Raises:
        RecipeError: if it shall be ``conditional``, have ``details`` that only the shared one has, or take a vector of
            noise and takes a map.
    """
    lacks = "takes no target class" if conditional else f"has no {', '.join(details)}" if details else ""
    if name == "deep" and not latent_map:
        lacks = "takes a map as noise, not a vector"
    if lacks:
        raise RecipeError(f"generator = '{name}' {lacks}, which this method needs; allowed: 'auto'")
    return DCGANGenerator(z_dim, shape, width) if name == "dcgan" else DeepGenerator(z_dim, shape, width)


class DCGANGenerator(ImageGenerator):
    """DFAD's for Caltech-101 and segmentation: noise [N, Z] -> images [N, C, H, W] (Fang et al., arXiv:1912.11006).

    A linear layer to a map of 8 g channels, four transposed 4x4 convolutions of stride 2 (8g -> 4g -> 2g -> g -> g), a
    convolution and tanh. At 128 pixels exactly as published; other sizes have another first map.

    Args:
        z_dim: Z; 256 in the paper's code.
        shape: [C, H, W].
        width: g; 64 there.

    Certain (authors' code). The images are (tanh + 1) / 2: it takes mean and standard deviation to be 0.5.
    """

    def __init__(self, z_dim: int, shape: tuple[int, int, int], width: int = 64):
        super().__init__()
        channels, *self.size = shape
        self.z_dim, self.latent_shape, self.width = z_dim, (z_dim,), width
        self.first_size = [-(-pixels // 2**HALVINGS) for pixels in self.size]
        first = self.first_size[0] * self.first_size[1]
        self.head = nn.Sequential(nn.Linear(z_dim, 8 * width * first), nn.Unflatten(1, (8 * width, *self.first_size)))
        layers: list[nn.Module] = [nn.BatchNorm2d(8 * width)]
        for inputs, outputs in ((8, 4), (4, 2), (2, 1), (1, 1)):
            layers += [
                nn.ConvTranspose2d(inputs * width, outputs * width, 4, stride=2, padding=1),
                nn.BatchNorm2d(outputs * width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))
        dcgan_init(self)

    def forward(self, noise: Tensor) -> Tensor:
        return (torch.tanh(middle(self.body(self.head(noise)), self.size).float()) + 1) / 2


class DeepGenerator(ImageGenerator):
    """FastDFKD's for ImageNet: a latent map [N, Z, H/16, W/16] -> images [N, C, H, W] (arXiv:2112.06253).

    Convolutions at every size: Z -> 2g, then 2g, g, g and g behind four doublings, and one to C channels; batch norm
    and leaky ReLU between, a sigmoid at the end. At 224 pixels exactly as published, without the linear layer that the
    authors' code builds and never runs.

    Args:
        z_dim: Z, channels of the latent map; 256 in the paper's code.
        shape: [C, H, W].
        width: g; 64 there.

    Certain (authors' code).
    """

    def __init__(self, z_dim: int, shape: tuple[int, int, int], width: int = 64):
        super().__init__()
        channels, *self.size = shape
        first = [-(-pixels // 2**HALVINGS) for pixels in self.size]
        self.z_dim, self.latent_shape, self.width = z_dim, (z_dim, *first), width
        layers: list[nn.Module] = [nn.Conv2d(z_dim, 2 * width, 3, padding=1), *_normalized(2 * width)]
        for inputs, outputs in ((2, 2), (2, 1), (1, 1), (1, 1)):
            layers += [UpsamplingConv2d(inputs * width, outputs * width), *_normalized(outputs * width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, latent: Tensor) -> Tensor:
        return torch.sigmoid(middle(self.body(latent), self.size).float())


def _normalized(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)]
