"""The encoder of PRE-DFKD's memory; its decoder is the shared generator."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.errors import SpecError

SMALLEST = 6
"""Pixels a side of which three halvings leave one."""


class Encoder(nn.Module):
    """Images in network units [N, C, H, W] -> mean and log variance [N, Z] of a code; H and W from 6 up.

    Each column of pixels is first scaled to length 1. Three halvings leave (H/8)^2 places of 2 * ``width``
    channels: 16 at 32 pixels as in the paper, 4 at 16 pixels, where nothing else differs. The batch norms' eps of 0.8
    is the authors'.

    Raises:
        SpecError: if nothing of so small images is left.
    """

    def __init__(self, z_dim: int, shape: tuple[int, int, int], width: int = 64):
        super().__init__()
        channels, height, across = shape
        if min(height, across) < SMALLEST:
            raise SpecError(
                f"the encoder of PRE-DFKD's memory halves images three times, and these are {height}x{across}; "
                f"allowed: {SMALLEST} pixels a side or more"
            )
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, width, 2 * width)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs, eps=0.8), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(
            *layers,
            nn.Upsample(scale_factor=0.5),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=0.5),
            nn.Flatten(),
        )
        places = (height // 2 + 1) // 2 // 2 * ((across // 2 + 1) // 2 // 2)
        self.mean = nn.Linear(2 * width * places, z_dim)
        self.log_variance = nn.Linear(2 * width * places, z_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.body(F.normalize(images, dim=2))
        return self.mean(maps).float(), self.log_variance(maps).float()
