"""A small U-Net (after Ronneberger et al., arXiv:1505.04597), for images of 16 pixels and more."""

import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.nets.initialization import fan_out_init


class UNet(nn.Module):
    """Levels of width w, 2w and 4w at a half, a quarter and an eighth of the size; images [N, C, H, W] -> [N, K, H, W].

    2x2 pixels enter as one of 4C channels, and the logits of half the size are enlarged: most of the computing of a
    U-Net is at full size, and small images need none of it. Any height and width: an odd one gets a line of zeros that
    the logits lose again, and the pools round up. The five stages are the three levels going down and the two going up.

    Differs: of the paper's, beside the size, skip connections are added, not concatenated (a tenth fewer
    parameters), convolutions keep the size of their maps, and batch norm stands behind each. No published
    network; weights start by Kaiming's, over outputs.
    """

    def __init__(self, width: int, channels: int, classes: int):
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        down = [_two(4 * channels, width), _two(width, 2 * width), _two(2 * width, 4 * width)]
        self.stages = nn.ModuleList([*down, Up(4 * width, 2 * width), Up(2 * width, width)])
        self.head = nn.Conv2d(width, classes, 1)
        fan_out_init(self)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, up, last = self.stages
        fine = first(self.unshuffle(_evened(x)))
        middle = second(self.pool(fine))
        coarse = third(self.pool(middle))
        logits = self.head(last(up(coarse, middle), fine))
        # not to the images' size at once: of an odd one the logits would not lie where their pixels do
        return _cropped(F.interpolate(logits, scale_factor=2.0, mode="bilinear"), x)


class Up(nn.Module):
    """Maps are narrowed, enlarged to the size of the skip connection, added to it, and convolved."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.narrow, self.mix = _one(inputs, outputs), _one(outputs, outputs)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        # narrowed first: at a quarter of the pixels the convolution costs a quarter
        return self.mix(F.interpolate(self.narrow(maps), skip.shape[2:]) + skip)


def _one(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _two(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_one(inputs, outputs), *_one(outputs, outputs))


def _evened(images: Tensor) -> Tensor:
    """Images whose height and width are even, by zeros below and on the right."""
    height, width = images.shape[2:]
    return F.pad(images, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else images


def _cropped(logits: Tensor, images: Tensor) -> Tensor:
    """Logits [N, K, H, W] of the images' own height and width."""
    height, width = images.shape[2:]
    return logits if logits.shape[2:] == images.shape[2:] else logits[:, :, :height, :width]


torch.fx.wrap("_evened")  # torch.fx, which folds batch norms, cannot trace a choice by shape
torch.fx.wrap("_cropped")
