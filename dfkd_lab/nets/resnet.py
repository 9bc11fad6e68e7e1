"""Residual networks for CIFAR: He et al. (arXiv:1512.03385) and Zagoruyko and Komodakis (arXiv:1605.07146)."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.nets.initialization import fan_out_init
from dfkd_lab.nets.pooling import GlobalAverage


class ResNet(nn.Module):
    """ResNet-(6n + 2) with stages of width 16, 32, 64 and ``blocks`` = n blocks; images [N, C, H, W] -> logits [N, K].

    Where a stage halves the maps, ``option`` "A" takes every second pixel and pads the new channels with zeros;
    "B" takes a 1x1 convolution with batch norm.

    Certain: with "A" the network of akamaster's pytorch_resnet_cifar10, with "B" that of chenyaofo's
    pytorch-cifar-models. Weights start as chenyaofo's (akamaster's start as Kaiming's over inputs).
    """

    def __init__(self, blocks: int, option: str, channels: int, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        block = partial(BasicBlock, option=option)
        self.layer1 = _stage(block, blocks, 16, 16, stride=1)
        self.layer2 = _stage(block, blocks, 16, 32, stride=2)
        self.layer3 = _stage(block, blocks, 32, 64, stride=2)
        self.avgpool = GlobalAverage()
        self.fc = nn.Linear(64, classes)
        fan_out_init(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut; ReLU behind the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: str):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if inputs == outputs:
            self.downsample: nn.Module = nn.Identity()
        elif option == "A":
            self.downsample = ZeroPadded(outputs - inputs)
        else:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class ZeroPadded(nn.Module):
    """Every second pixel of maps [N, C, H, W], with ``added`` channels of zeros, half of them on either side."""

    def __init__(self, added: int):
        super().__init__()
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        # a pool of one pixel, because the gradient of a slice forgets that its maps are channels_last
        return F.pad(F.avg_pool2d(x, 1, stride=2), (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))


class WideResNet(nn.Module):
    """WRN-``depth``-``factor``: pre-activation blocks of width 16k, 32k, 64k; images [N, C, H, W] -> logits [N, K].

    Certain: the network of xternalz' WideResNet-pytorch and of the field's toolbox (CMI, FastDFKD); it starts as those.
    """

    def __init__(self, depth: int, factor: int, channels: int, classes: int):
        super().__init__()
        blocks, widths = (depth - 4) // 6, (16, 16 * factor, 32 * factor, 64 * factor)
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        strides = (1, 2, 2)
        stages = (_stage(PreActivation, blocks, *pair, s) for pair, s in zip(pairwise(widths), strides, strict=True))
        self.layer1, self.layer2, self.layer3 = stages
        self.bn1 = nn.BatchNorm2d(widths[-1])
        self.avgpool = GlobalAverage()
        self.fc = nn.Linear(widths[-1], classes)
        fan_out_init(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(self.avgpool(F.relu(self.bn1(x))))


class PreActivation(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions; a 1x1 convolution on the shortcut if widths change."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.shortcut is None else self.shortcut(active))


def _stage(block: Callable[..., nn.Module], blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    rest = (block(outputs, outputs, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(block(inputs, outputs, stride=stride), *rest)
