"""torchvision's networks with a stem for 32x32 images: stride 1 where ImageNet's has 2, and no max pooling."""

from collections.abc import Iterable
from itertools import pairwise

from torch import Tensor, nn
from torchvision import models
from torchvision.models.vgg import cfgs, make_layers

from dfkd_lab.nets.initialization import fan_out_init, kaiming, reset_parameters
from dfkd_lab.nets.pooling import GlobalAverage, HalveAtEightPixels


class Staged(nn.Module):
    """A stem, stages, global average pooling and one linear layer; images [N, C, H, W] -> logits [N, K]."""

    def __init__(self, stages: Iterable[nn.Module], width: int, classes: int, stem: nn.Module | None = None):
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.stages = nn.Sequential(*stages)
        self.avgpool = GlobalAverage()
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.stages(self.stem(x))))


def resnet(name: str, max_pooling: bool, channels: int, classes: int) -> nn.Module:
    """ResNet ``name`` of torchvision with a 3x3 convolution of stride 1 as stem; its stages are layer1 to layer4.

    Certain: the network of kuangliu's pytorch-cifar, of DAFL's and DFAD's code and of the field's toolbox, and starts
    as DAFL's and the toolbox's, by torch's defaults; DFAD's start is
    :func:`~dfkd_lab.nets.initialization.kaiming`. With ``max_pooling`` behind the stem, the one of huyvnphan's
    PyTorch_CIFAR10, and starts as that.
    """
    net = models.get_model(name, weights=None, num_classes=classes)
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    if not max_pooling:
        net.maxpool = nn.Identity()
    reset_parameters(net)
    net.starts_as_torch_does = True  # a method may start it otherwise
    if max_pooling:
        kaiming(net)
    return net


def vgg(layers: str, max_pools: int, channels: int, classes: int) -> nn.Module:
    """VGG with batch norm (arXiv:1409.1556), "A" or "D", its three linear layers replaced by one; five stages.

    Certain: with 3 ``max_pools``, behind the first three stages, the network of the field's toolbox (CMI, FastDFKD),
    which pools behind the fourth only if images are 64 pixels high; it averages the last maps and starts as theirs.
    With 5, the one of kuangliu's pytorch-cifar, which starts by torch's defaults; images are at least 32x32.
    """
    body = make_layers(cfgs[layers], batch_norm=True)
    body[0] = nn.Conv2d(channels, 64, 3, padding=1)
    ends = [place for place, layer in enumerate(body) if isinstance(layer, nn.MaxPool2d)]
    if max_pools == 3:
        body[ends[3]], body[ends[4]] = HalveAtEightPixels(), nn.Identity()
    net = Staged((body[begin:end] for begin, end in pairwise([0, *(end + 1 for end in ends)])), 512, classes)
    return _started(net) if max_pools == 3 else net


def mobilenet_v2(channels: int, classes: int) -> nn.Module:
    """MobileNetV2 (arXiv:1801.04381) of width 1; stem and second stage at full size; four stages, one a resolution.

    Certain: the network of chenyaofo's pytorch-cifar-models and of huyvnphan's PyTorch_CIFAR10, and starts as theirs.
    """
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
    return _started(Staged((body[1:4], body[4:7], body[7:14], body[14:]), 1280, classes, stem=body[0]))


def shufflenet_v2(channels: int, classes: int) -> nn.Module:
    """ShuffleNetV2 (arXiv:1807.11164) of width 1 with a stem at full size; three stages.

    Certain: the network of chenyaofo's pytorch-cifar-models and of kuangliu's pytorch-cifar.
    """
    net = models.shufflenet_v2_x1_0(weights=None)
    net.conv1[0] = nn.Conv2d(channels, 24, 3, padding=1, bias=False)
    last = nn.Sequential(*net.stage4, *net.conv5)
    return Staged((net.stage2, net.stage3, last), 1024, classes, stem=net.conv1)


def _started(net: Staged) -> Staged:
    """``net`` with the weights that VGG and MobileNetV2 begin with everywhere: logits near 0, and no biases."""
    fan_out_init(net)
    nn.init.normal_(net.fc.weight, 0, 0.01)
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return net
