"""Small classifiers: teachers and students for images of 8 to 32 pixels."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.nets.pooling import GlobalAverage


class ConvNet(nn.Module):
    """Three stages of convolution, batch norm and ReLU at widths w, 2w, 4w; images [N, C, H, W] -> logits [N, K].

    The smallest network with stage maps, batch-norm statistics and a linear head, for 16x16 digits.
    """

    def __init__(self, width: int, channels: int, classes: int):
        super().__init__()
        widths = (channels, width, 2 * width, 4 * width)
        self.stages = nn.Sequential(*(_stage(*pair) for pair in pairwise(widths)))
        self.pool = nn.MaxPool2d(2)
        self.avgpool = GlobalAverage()
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        for place, stage in enumerate(self.stages):
            x = stage(self.pool(x) if place else x)
        return self.fc(self.avgpool(x))


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with ReLU and max pooling; images [N, C, H, W] up to 32x32 -> logits [N, K].

    Smaller images are padded to the original's 32x32 with zeros. It has no batch norm. The stages are C1, C3 and C5.

    Certain: at 32x32 the network of DAFL's and DFAD's code, and with ``widths`` 3, 8, 60 and ``hidden`` 42 their
    student, LeNet-5-half.

    Differs: of LeCun's, C3 sees all maps of S2, and the output is linear, as everywhere in the field since.

    Args:
        widths: Channels of C1, C3 and C5.
        hidden: Outputs of F6.
        channels: C.
        classes: K.
    """

    def __init__(self, widths: tuple[int, int, int], hidden: int, channels: int, classes: int):
        super().__init__()
        pairs = pairwise((channels, *widths))
        self.stages = nn.Sequential(*(nn.Sequential(nn.Conv2d(*pair, 5), nn.ReLU()) for pair in pairs))
        self.pool = nn.MaxPool2d(2)
        self.avgpool = GlobalAverage()
        self.f6 = nn.Linear(widths[-1], hidden)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        margin = max(0, (32 - x.shape[-1]) // 2)
        x = F.pad(x, [margin] * 4)
        for place, stage in enumerate(self.stages):
            x = stage(self.pool(x) if place else x)
        return self.fc(F.relu(self.f6(self.avgpool(x))))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
