"""The field's shared generator: noise -> images (DCGAN-like; the DAFL, DFAD and CMI code agree on it)."""

from typing import Literal

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """Noise [N, Z] -> images [N, C, H, W]; H is a multiple of 4.

    ``output`` says how the last layer is bounded: "sigmoid" (CMI, FastDFKD) gives images in [0, 1]; "tanh_bn" (DAFL,
    PRE-DFKD) gives tanh followed by batch norm without affine, in network units, which ``mean`` and ``std`` turn into
    images (values a little outside [0, 1] are possible and kept).
    """

    def __init__(
        self,
        z_dim: int,
        shape: tuple[int, int, int],
        width: int = 64,
        output: Literal["sigmoid", "tanh_bn"] = "sigmoid",
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ):
        super().__init__()
        channels, height, _ = shape
        self.z_dim, self.side, self.width = z_dim, height // 4, width
        self.head = nn.Linear(z_dim, 2 * width * self.side**2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
        )
        self.output = output
        if output == "tanh_bn":
            self.last_norm = nn.BatchNorm2d(channels, affine=False)
            self.register_buffer("mean", torch.zeros(channels, 1, 1) if mean is None else mean.clone())
            self.register_buffer("std", torch.ones(channels, 1, 1) if std is None else std.clone())

    def forward(self, noise: Tensor) -> Tensor:
        maps = self.head(noise).view(-1, 2 * self.width, self.side, self.side)
        raw = self.body(maps)
        if self.output == "sigmoid":
            return torch.sigmoid(raw)
        return self.last_norm(torch.tanh(raw)) * self.std + self.mean
