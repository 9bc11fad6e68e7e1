"""The field's shared generator: noise -> images (DCGAN-like; the DAFL, DFAD and CMI code agree on it)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Output = Literal["sigmoid", "tanh_bn", "bn"]


class Generator(nn.Module):
    """Noise [N, Z] -> images [N, C, H, W]; H is a multiple of 4.

    ``output`` says how the last layer is bounded: "sigmoid" (CMI, FastDFKD) gives images in [0, 1]; "tanh_bn" (DAFL,
    PRE-DFKD) gives tanh followed by batch norm without affine, in network units, which ``mean`` and ``std`` turn into
    images (values a little outside [0, 1] are possible and kept); "bn" (ZSKT) gives batch norm with affine and no
    squashing, in network units too.

    With ``classes`` it is conditional: the noise is multiplied by a learned embedding of the labels [N]. ``spectral``
    normalizes the weights of the convolutions, and ``eps`` is that of the batch norms behind them (PRE-DFKD).
    """

    def __init__(
        self,
        z_dim: int,
        shape: tuple[int, int, int],
        width: int = 64,
        output: Output = "sigmoid",
        mean: Tensor | None = None,
        std: Tensor | None = None,
        classes: int = 0,
        spectral: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        channels, height, _ = shape
        self.z_dim, self.side, self.width = z_dim, height // 4, width
        self.head = nn.Linear(z_dim, 2 * width * self.side**2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, eps=eps),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=eps),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
        )
        for layer in [each for each in self.body if spectral and isinstance(each, nn.Conv2d)]:
            spectral_norm(layer)
        self.output = output
        if classes:
            self.embedding = nn.Embedding(classes, z_dim)
        if output != "sigmoid":
            self.last_norm = nn.BatchNorm2d(channels, affine=output == "bn")
            self.register_buffer("mean", torch.zeros(channels, 1, 1) if mean is None else mean.clone())
            self.register_buffer("std", torch.ones(channels, 1, 1) if std is None else std.clone())

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            noise = noise * self.embedding(labels)
        maps = self.head(noise).view(-1, 2 * self.width, self.side, self.side)
        raw = self.body(maps)
        if self.output == "sigmoid":
            return torch.sigmoid(raw)
        return self.last_norm(torch.tanh(raw) if self.output == "tanh_bn" else raw) * self.std + self.mean
