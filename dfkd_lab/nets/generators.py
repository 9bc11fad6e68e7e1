"""The field's shared generator: noise -> images (DCGAN-like; the DAFL, DFAD and CMI code agree on it)."""

import math
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dfkd_lab.system.onednn_conv import SteadyConv2d, convolution

Output = Literal["sigmoid", "tanh_bn", "bn"]


class ImageGenerator(nn.Module):
    """What makes images [N, C, H, W] from noise [N, *latent_shape]."""

    latent_shape: tuple[int, ...]
    z_dim: int
    width: int


class Generator(ImageGenerator):
    """Noise [N, Z] -> images [N, C, H, W] of any height and width.

    A linear layer makes a first map of at most 8 pixels a side, and each block doubles it: twice up to 32 pixels, as in
    the field's code, and once more for each doubling beyond, so that the linear layer does not grow with the image.
    Where a size is no multiple of that, the next larger one is drawn and its middle kept.

    ``output`` says how the last layer is bounded: "sigmoid" (CMI, FastDFKD) gives images in [0, 1]; "tanh_bn" (DAFL,
    PRE-DFKD) gives tanh followed by batch norm without affine, in network units, which ``mean`` and ``std`` turn into
    images (values a little outside [0, 1] are possible and kept); "bn" (ZSKT) gives batch norm with affine and no
    squashing, in network units too.

    With ``classes`` it is conditional: the noise is multiplied by a learned embedding of the labels [N], or, with
    ``conditioning`` "sum", added to it (MAD). ``spectral`` normalizes the weights of the convolutions, and ``eps`` is
    that of the batch norms behind them (PRE-DFKD). ``squeeze`` ends both blocks with channel attention (FSSC).

    Differs: also with "sigmoid" the convolutions before a batch norm have a bias, 3 ``width`` numbers that this norm
    takes away again; CMI's and FastDFKD's have none. Kept, so that runs that were begun with it can be resumed.
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
        conditioning: Literal["product", "sum"] = "product",
        squeeze: bool = False,
    ):
        super().__init__()
        channels, *self.size = shape
        self.z_dim, self.latent_shape, self.width = z_dim, (z_dim,), width
        blocks = upsamplings(*self.size)
        self.first_size = tuple(-(-pixels // 2**blocks) for pixels in self.size)
        self.head = nn.Linear(z_dim, 2 * width * math.prod(self.first_size))
        layers = [_block(2 * width, 2 * width, eps, squeeze) for _ in range(blocks - 1)]
        layers.append(_block(2 * width, width, eps, squeeze))
        last = SteadyConv2d(width, channels, 3, padding=1)
        self.body = nn.Sequential(nn.BatchNorm2d(2 * width), *chain.from_iterable(layers), last)
        self.ends = tuple(1 + number * len(layers[0]) for number in range(blocks + 1))
        for layer in [each for each in self.body if spectral and isinstance(each, nn.Conv2d)]:
            spectral_norm(layer)
        self.output, self.conditioning = output, conditioning
        if classes:
            self.embedding = nn.Embedding(classes, z_dim)
        if output != "sigmoid":
            self.last_norm = nn.BatchNorm2d(channels, affine=output == "bn")
            self.register_buffer("mean", torch.zeros(channels, 1, 1) if mean is None else mean.clone())
            self.register_buffer("std", torch.ones(channels, 1, 1) if std is None else std.clone())

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            wanted = self.embedding(labels)
            noise = noise + wanted if self.conditioning == "sum" else noise * wanted
        return self.decode(len(self.ends) - 1, self.maps(noise)[-1])

    def maps(self, noise: Tensor) -> list[Tensor]:
        """The hidden maps of ``noise`` [N, Z], behind the first batch norm and behind each block.

        With g = ``width``, at 32 pixels: [N, 2g, 8, 8], [N, 2g, 16, 16] and [N, g, 32, 32].
        """
        maps = [self.head(noise).view(-1, 2 * self.width, *self.first_size)]
        for begin, end in pairwise((0, *self.ends)):
            maps.append(self._through(begin, end, maps[-1]))
        return maps[1:]

    def decode(self, depth: int, maps: Tensor) -> Tensor:
        """Images [N, C, H, W] from hidden maps of ``depth`` 0, 1, ..., through the layers that are left."""
        raw = middle(self._through(self.ends[depth], len(self.body), maps), self.size)
        raw = raw.float()  # images have more steps than bfloat16
        if self.output == "sigmoid":
            return torch.sigmoid(raw)
        return self.last_norm(torch.tanh(raw) if self.output == "tanh_bn" else raw) * self.std + self.mean

    def _through(self, begin: int, end: int, x: Tensor) -> Tensor:
        for place in range(begin, end):
            x = self.body[place](x)
        return x


def draw_latent(net: nn.Module, n: int, z_dim: int, device: torch.device) -> Tensor:
    """Standard normal noise for ``net``: [n, Z], or latent maps for a network that takes those."""
    return torch.randn(n, *getattr(net, "latent_shape", (z_dim,)), device=device)


def upsamplings(height: int, width: int) -> int:
    """How often a generator doubles its first map: twice, and on until the first one has at most 8 pixels a side."""
    return max(2, math.ceil(math.log2(max(height, width) / 8)))


def middle(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of maps [N, C, H, W] at ``size``, (height, width)."""
    top, left = ((have - want) // 2 for have, want in zip(maps.shape[2:], size, strict=True))
    return maps[:, :, top : top + size[0], left : left + size[1]]


class UpsamplingConv2d(nn.Conv2d):
    """Nearest upsampling to twice the size, then a 3x3 convolution: [N, I, H, W] -> [N, O, 2H, 2W].

    Computed as the one transposed convolution that it is, with 4 products a pixel and channel instead of 9. Its 4x4
    filters are the 3x3 ones, turned around and spread over the 2x2 pixels that upsampling makes of one.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        spread = F.avg_pool2d(F.pad(self.weight.flip(2, 3), [1, 1, 1, 1]), 2, stride=1, divisor_override=1)
        filters = spread.transpose(0, 1).contiguous(memory_format=torch.channels_last)  # a transpose forgets it
        return convolution(x, filters, self.bias, stride=(2, 2), padding=(1, 1), transposed=True)


class SqueezeExcitation(nn.Module):
    """Channel attention (Hu et al., arXiv:1709.01507): maps [N, C, H, W], each channel times a factor in (0, 1)."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.factors = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors(x.mean((2, 3)))[:, :, None, None]


def _block(inputs: int, outputs: int, eps: float, squeeze: bool) -> list[nn.Module]:
    """Twice the size, then convolution, batch norm and nonlinearity, and channel attention if asked for."""
    layers = [
        nn.Identity(),  # so that the parameters have the names they have in the field's code, and in saved runs
        UpsamplingConv2d(inputs, outputs),
        nn.BatchNorm2d(outputs, eps=eps),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    return [*layers, SqueezeExcitation(outputs)] if squeeze else layers
