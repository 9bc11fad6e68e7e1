"""The networks of the algorithms: a small classifier, the shared generator, PRE-DFKD's encoder."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

MEAN = (0.5, 0.4, 0.3)
STD = (0.2, 0.25, 0.3)
"""Of the teacher's normalization."""


def normalized(x: Tensor) -> Tensor:
    """Images in [0, 1] in network units."""
    return (x - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)


class Pass(NamedTuple):
    """What one pass yields: logits, feature, map after each stage, input of each batch norm."""

    logits: Tensor
    feature: Tensor
    maps: list[Tensor]
    inputs: list[Tensor]


class SmallNet(nn.Module):
    """Stages of convolution, batch norm and ReLU, the mean over places, a linear layer; images in network units."""

    def __init__(self, widths: tuple[int, ...], classes: int):
        super().__init__()
        channels = (3, *widths)
        self.stages = nn.Sequential()
        for stage, width in enumerate(widths):
            conv = nn.Conv2d(channels[stage], width, 3, stride=1 + (stage > 0), padding=1, bias=False)
            self.stages.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(x).mean((2, 3)))

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """Its batch norms, in order."""
        return [layer for layer in self.modules() if isinstance(layer, nn.BatchNorm2d)]

    def layers(self, x: Tensor) -> Pass:
        """The same, with what it passes through."""
        maps, inputs = [], []
        for stage in self.stages.children():
            conv, norm, relu = stage.children()
            inputs.append(conv(x))
            x = relu(norm(inputs[-1]))
            maps.append(x)
        feature = x.mean((2, 3))
        return Pass(self.fc(feature), feature, maps, inputs)


class Generator(nn.Module):
    """Noise -> images: a linear layer, and two blocks that double the size (the cards' section 4).

    ``out`` "sigmoid" gives images in [0, 1]; "tanh" (tanh and batch norm without affine) and "norm" (batch norm with
    affine) give them in network units. ``spectral`` is spectral norm on the convolutions.
    """

    def __init__(self, z_dim: int, width: int, out: str = "sigmoid", eps: float = 1e-5, spectral: bool = False):
        super().__init__()
        self.width, self.out = width, out
        self.head = nn.Linear(z_dim, 2 * width * 2 * 2)  # images are 8 pixels high and wide
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, eps=eps),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=eps),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 3, 3, padding=1),
        )
        for layer in self.body:
            if spectral and isinstance(layer, nn.Conv2d):
                spectral_norm(layer)
        if out != "sigmoid":
            self.last_norm = nn.BatchNorm2d(3, affine=out == "norm")

    def forward(self, z: Tensor) -> Tensor:
        return self.decode(2, self.maps(z)[2])

    def maps(self, z: Tensor) -> list[Tensor]:
        """The maps behind the first batch norm and behind each block."""
        first = self.body[0](self.head(z).view(len(z), 2 * self.width, 2, 2))
        second = self.body[1:5](first)
        return [first, second, self.body[5:9](second)]

    def decode(self, depth: int, maps: Tensor) -> Tensor:
        """Images from the maps of this depth, through the layers that are left."""
        x = self.body[1 + 4 * depth :](maps)
        if self.out == "sigmoid":
            return torch.sigmoid(x)
        return self.last_norm(torch.tanh(x) if self.out == "tanh" else x)


class Encoder(nn.Module):
    """Images in network units -> mean and log variance of a code (PRE-DFKD)."""

    def __init__(self, z_dim: int, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=0.5),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=0.5),
            nn.Flatten(),
        )
        self.mean = nn.Linear(2 * width, z_dim)
        self.log_variance = nn.Linear(2 * width, z_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.body(F.normalize(x, dim=2))  # along the height
        return self.mean(maps), self.log_variance(maps)
