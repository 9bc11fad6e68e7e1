"""Small classifiers that torchvision lacks: teachers and students for images of 8 to 32 pixels."""

from itertools import pairwise

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Three stages of convolution, batch norm and ReLU at widths w, 2w, 4w; images [N, C, H, W] -> logits [N, K].

    The smallest network with stage maps, batch-norm statistics and a linear head, for 16x16 digits.
    """

    def __init__(self, width: int, channels: int, classes: int):
        super().__init__()
        widths = (channels, width, 2 * width, 4 * width)
        self.stages = nn.Sequential(*(_stage(*pair) for pair in pairwise(widths)))
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        for place, stage in enumerate(self.stages):
            x = stage(self.pool(x) if place else x)
        return self.fc(x.mean((2, 3)))


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
