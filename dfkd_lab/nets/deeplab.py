"""DeepLabv3 (Chen et al., arXiv:1706.05587) on a backbone for which torchvision has none."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

RATES = (12, 24, 32)
"""Of the three dilated convolutions of the head in DFAD's code; torchvision's are 12, 24 and 36."""


class DeepLabV3(nn.Module):
    """A backbone and a head, whose logits are enlarged to the images' size; images [N, C, H, W] -> [N, K, H, W]."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone, self.classifier = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.classifier(self.backbone(x)), x.shape[2:], mode="bilinear")


def deeplabv3_mobilenet_v2(channels: int, classes: int) -> nn.Module:
    """DeepLabv3 on MobileNetV2 without its last convolution, at an eighth of the size; dropout .5.

    Certain: of DFAD's student strides, dilations, rates, dropout, and how the filters of the backbone start.

    Differs: DFAD's blocks pad before their first convolution, these before their second, as everybody else's: what
    lies beyond the border is 0, not what a batch norm makes of 0.

    Args:
        channels: C.
        classes: K.
    """
    features = models.MobileNetV2().features[:-1]
    if channels != 3:
        features[0][0] = nn.Conv2d(channels, 32, 3, stride=2, padding=1, bias=False)
    # three strides of 2 are in front; the two that would follow are twice the dilation of what stands behind them
    for block, dilation in zip(features[7:], (*4 * (1,), *6 * (2,), 4), strict=True):
        _dilate(block, dilation)
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return DeepLabV3(features, DeepLabHead(320, classes, RATES))


def _dilate(block: nn.Module, dilation: int) -> None:
    """Let the 3x3 convolutions of ``block`` keep the size of their maps, and see as far as if it had been halved."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.stride, layer.dilation, layer.padding = (1, 1), (dilation, dilation), (dilation, dilation)
