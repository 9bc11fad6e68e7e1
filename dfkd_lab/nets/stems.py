"""torchvision's networks with a stem for 32x32 images: stride 1 where ImageNet's has 2, and no max pooling."""

from collections.abc import Iterable
from itertools import pairwise

from torch import Tensor, nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers


class Staged(nn.Module):
    """A stem, stages, global average pooling and one linear layer; images [N, C, H, W] -> logits [N, K]."""

    def __init__(self, stages: Iterable[nn.Module], width: int, classes: int, stem: nn.Module | None = None):
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(self.stem(x)).mean((2, 3)))


def resnet(name: str, channels: int, classes: int) -> nn.Module:
    """ResNet ``name`` of torchvision with a 3x3 convolution of stride 1 as stem; its stages are layer1 to layer4."""
    net = models.get_model(name, weights=None, num_classes=classes)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return net


def vgg(layers: str, channels: int, classes: int) -> nn.Module:
    """VGG with batch norm (arXiv:1409.1556), "A" or "D", its three linear layers replaced by one; five stages.

    Five halvings ask for images of at least 32x32.
    """
    body = make_layers(cfgs[layers], batch_norm=True)
    body[0] = nn.Conv2d(channels, 64, 3, padding=1)
    ends = [place for place, layer in enumerate(body) if isinstance(layer, nn.MaxPool2d)]
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return Staged((body[begin:end] for begin, end in pairwise([0, *(end + 1 for end in ends)])), 512, classes)


def mobilenet_v2(channels: int, classes: int) -> nn.Module:
    """MobileNetV2 (arXiv:1801.04381) of width 1; stem and second stage at full size; four stages, one a resolution."""
    setting = [
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]
    body = models.MobileNetV2(inverted_residual_setting=[list(row) for row in setting]).features
    body[0][0] = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(body[0][0].weight, mode="fan_out")
    return Staged((body[1:4], body[4:7], body[7:14], body[14:]), 1280, classes, stem=body[0])


def shufflenet_v2(channels: int, classes: int) -> nn.Module:
    """ShuffleNetV2 (arXiv:1807.11164) of width 1 with a stem at full size; three stages."""
    net = models.shufflenet_v2_x1_0(weights=None)
    net.conv1[0] = nn.Conv2d(channels, 24, 3, padding=1, bias=False)
    last = nn.Sequential(*net.stage4, *net.conv5)
    return Staged((net.stage2, net.stage3, last), 1024, classes, stem=net.conv1)
