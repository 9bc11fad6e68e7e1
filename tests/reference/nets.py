"""Public networks, restated from their definitions as functions of a state dict in that code's own names.

Nothing here is the library's or torchvision's: only what ``torch.nn.functional`` computes, in eval mode.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


class Names:
    """A state dict, read below a prefix."""

    def __init__(self, weights: Weights, prefix: str = ""):
        self.weights, self.prefix = weights, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[self.prefix + name]

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.weights

    def get(self, name: str) -> Tensor | None:
        return self.weights.get(self.prefix + name)

    def below(self, name: str) -> "Names":
        return Names(self.weights, f"{self.prefix}{name}.")


def convolved(
    x: Tensor, names: Names, layer: str, stride: int = 1, groups: int = 1, padding: int | None = None
) -> Tensor:
    weight = names[f"{layer}.weight"]
    bias = names.get(f"{layer}.bias")
    around = weight.shape[2] // 2 if padding is None else padding
    return F.conv2d(x, weight, bias, stride, around, groups=groups)


def normalized(x: Tensor, names: Names, layer: str) -> Tensor:
    """By running statistics, with torch's eps of 1e-5."""
    mean, variance = names[f"{layer}.running_mean"], names[f"{layer}.running_var"]
    scale = names[f"{layer}.weight"] / (variance + 1e-5).sqrt()
    return x * scale[:, None, None] + (names[f"{layer}.bias"] - mean * scale)[:, None, None]


def linear(x: Tensor, names: Names, layer: str) -> Tensor:
    return x @ names[f"{layer}.weight"].T + names[f"{layer}.bias"]


def averaged(x: Tensor) -> Tensor:
    return x.flatten(2).mean(2)


def toolbox_vgg(x: Tensor, weights: Weights) -> Tensor:
    """VGG of zju-vipa's CMI and Fast-Datafree: block0 to block4, each without its last ReLU, which follows it."""
    names, height = Names(weights), x.shape[2]
    for number in range(5):
        block, place = names.below(f"block{number}"), 0
        while f"{place}.weight" in block:  # convolution, batch norm, ReLU, and so on
            x = F.relu(normalized(convolved(x, block, str(place)), block, str(place + 1)))
            place += 3
        if number < 3 or (number == 3 and height == 64):
            x = F.max_pool2d(x, 2)
    return linear(averaged(x), names, "classifier")


def kuangliu_vgg(x: Tensor, weights: Weights) -> Tensor:
    """VGG of kuangliu's pytorch-cifar: one list of layers in which each group ends with a max pool."""
    names = Names(weights)
    features, place = names.below("features"), 0
    while f"{place}.weight" in features:
        x = F.relu(normalized(convolved(x, features, str(place)), features, str(place + 1)))
        place += 3
        if f"{place}.weight" not in features:
            x = F.max_pool2d(x, 2)
            place += 1
    return linear(x.flatten(1), names, "classifier")


Shortcut = Callable[[Tensor, Names, int], Tensor]


def residual(x: Tensor, block: Names, stride: int, shortcut: Shortcut) -> Tensor:
    """Two 3x3 convolutions, or 1x1, 3x3 (which strides) and 1x1; ReLU behind the sum."""
    if "conv3.weight" in block:
        y = F.relu(normalized(convolved(x, block, "conv1"), block, "bn1"))
        y = F.relu(normalized(convolved(y, block, "conv2", stride), block, "bn2"))
        y = normalized(convolved(y, block, "conv3"), block, "bn3")
    else:
        y = F.relu(normalized(convolved(x, block, "conv1", stride), block, "bn1"))
        y = normalized(convolved(y, block, "conv2"), block, "bn2")
    return F.relu(y + shortcut(x, block, stride))


def padded_shortcut(x: Tensor, block: Names, stride: int) -> Tensor:
    """Option A of akamaster's: every second pixel, a quarter of the new width in zeros on either side."""
    if stride == 1:
        return x
    zeros = torch.zeros(len(x), x.shape[1] // 2, x.shape[2] // 2, x.shape[3] // 2, dtype=x.dtype)
    return torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)


def projected(name: str) -> Shortcut:
    """A 1x1 convolution with batch norm, called ``name``, where there is one."""

    def shortcut(x: Tensor, block: Names, stride: int) -> Tensor:
        if f"{name}.0.weight" not in block:
            return x
        return normalized(convolved(x, block, f"{name}.0", stride), block, f"{name}.1")

    return shortcut


def resnet(x: Tensor, weights: Weights, shortcut: Shortcut, head: str, max_pooling: bool = False) -> Tensor:
    """layer1 to layer3 or layer4 behind a 3x3 convolution; every layer but the first halves the maps."""
    names = Names(weights)
    x = F.relu(normalized(convolved(x, names, "conv1"), names, "bn1"))
    if max_pooling:
        x = F.max_pool2d(x, 3, 2, 1)
    for number in (1, 2, 3, 4):
        layer, place = names.below(f"layer{number}"), 0
        while f"{place}.conv1.weight" in layer:
            x = residual(x, layer.below(str(place)), 2 if number > 1 and place == 0 else 1, shortcut)
            place += 1
    return linear(averaged(x), names, head)


def akamaster_resnet(x: Tensor, weights: Weights) -> Tensor:
    """akamaster's pytorch_resnet_cifar10."""
    return resnet(x, weights, padded_shortcut, "linear")


def chenyaofo_resnet(x: Tensor, weights: Weights) -> Tensor:
    """chenyaofo's pytorch-cifar-models."""
    return resnet(x, weights, projected("downsample"), "fc")


def kuangliu_resnet(x: Tensor, weights: Weights) -> Tensor:
    """kuangliu's pytorch-cifar, DAFL's, DFAD's and the toolbox's."""
    return resnet(x, weights, projected("shortcut"), "linear")


def huyvnphan_resnet(x: Tensor, weights: Weights) -> Tensor:
    """huyvnphan's PyTorch_CIFAR10, which keeps ImageNet's max pool behind the stem."""
    return resnet(x, weights, projected("downsample"), "fc", max_pooling=True)


def xternalz_wrn(x: Tensor, weights: Weights) -> Tensor:
    """xternalz' WideResNet-pytorch and the toolbox's: a block that widens hands its activated input to the shortcut."""
    names = Names(weights)
    x = convolved(x, names, "conv1")
    for number in (1, 2, 3):
        layer, place = names.below(f"block{number}.layer"), 0
        while f"{place}.conv1.weight" in layer:
            block, stride = layer.below(str(place)), 2 if number > 1 and place == 0 else 1
            active = F.relu(normalized(x, block, "bn1"))
            y = F.relu(normalized(convolved(active, block, "conv1", stride), block, "bn2"))
            y = convolved(y, block, "conv2")
            widens = "convShortcut.weight" in block
            x = y + (convolved(active, block, "convShortcut", stride) if widens else x)
            place += 1
    return linear(averaged(F.relu(normalized(x, names, "bn1"))), names, "fc")


def dafl_lenet(x: Tensor, weights: Weights) -> Tensor:
    """LeNet-5 and LeNet-5-half of DAFL's and DFAD's code, for images of 32x32."""
    names = Names(weights)
    x = F.max_pool2d(F.relu(convolved(x, names, "conv1", padding=0)), 2)
    x = F.max_pool2d(F.relu(convolved(x, names, "conv2", padding=0)), 2)
    x = F.relu(convolved(x, names, "conv3", padding=0)).flatten(1)
    return linear(F.relu(linear(x, names, "fc1")), names, "fc2")


def chenyaofo_mobilenet(x: Tensor, weights: Weights) -> Tensor:
    """MobileNetV2 of chenyaofo's and huyvnphan's: strides of 2 at the blocks 4, 7 and 14 alone, and ReLU6."""
    names = Names(weights)
    features = names.below("features")
    x = F.relu6(normalized(convolved(x, features, "0.0"), features, "0.1"))
    for place in range(1, 18):
        block, stride = features.below(f"{place}.conv"), 2 if place in (4, 7, 14) else 1
        y, at = x, 0
        if place > 1:  # the first block does not expand
            y, at = F.relu6(normalized(convolved(y, block, "0.0"), block, "0.1")), 1
        y = convolved(y, block, f"{at}.0", stride, groups=y.shape[1])
        y = F.relu6(normalized(y, block, f"{at}.1"))
        y = normalized(convolved(y, block, str(at + 1)), block, str(at + 2))
        x = x + y if y.shape == x.shape and stride == 1 else y
    x = F.relu6(normalized(convolved(x, features, "18.0"), features, "18.1"))
    return linear(averaged(x), names, "classifier.1")


def shuffled(one: Tensor, other: Tensor) -> Tensor:
    """Channels of both, in turns."""
    return torch.stack([one, other], 2).flatten(1, 2)


def chenyaofo_shufflenet(x: Tensor, weights: Weights) -> Tensor:
    """ShuffleNetV2 of chenyaofo's: no stride in the stem and no max pool."""
    names = Names(weights)
    x = F.relu(normalized(convolved(x, names, "conv1.0"), names, "conv1.1"))
    for stage in (2, 3, 4):
        layer, place = names.below(f"stage{stage}"), 0
        while f"{place}.branch2.0.weight" in layer:
            block, stride = layer.below(str(place)), 1 if place else 2
            if stride == 2:
                first, branch = block.below("branch1"), x
                kept = normalized(convolved(x, first, "0", 2, groups=x.shape[1]), first, "1")
                kept = F.relu(normalized(convolved(kept, first, "2"), first, "3"))
            else:
                kept, branch = x.split(x.shape[1] // 2, 1)
            second = block.below("branch2")
            y = F.relu(normalized(convolved(branch, second, "0"), second, "1"))
            y = normalized(convolved(y, second, "3", stride, groups=y.shape[1]), second, "4")
            x = shuffled(kept, F.relu(normalized(convolved(y, second, "5"), second, "6")))
            place += 1
    x = F.relu(normalized(convolved(x, names, "conv5.0"), names, "conv5.1"))
    return linear(averaged(x), names, "fc")


def kuangliu_shufflenet(x: Tensor, weights: Weights) -> Tensor:
    """ShuffleNetV2 of kuangliu's: the same, with the five convolutions of a block that halves numbered through."""
    names = Names(weights)
    x = F.relu(normalized(convolved(x, names, "conv1"), names, "bn1"))
    for stage in (1, 2, 3):
        layer, place = names.below(f"layer{stage}"), 0
        while f"{place}.conv1.weight" in layer:
            block = layer.below(str(place))
            if place == 0:
                kept = normalized(convolved(x, block, "conv1", 2, groups=x.shape[1]), block, "bn1")
                kept = F.relu(normalized(convolved(kept, block, "conv2"), block, "bn2"))
                y, numbers, stride = x, (3, 4, 5), 2
            else:
                (kept, y), numbers, stride = x.split(x.shape[1] // 2, 1), (1, 2, 3), 1
            one, two, three = numbers
            y = F.relu(normalized(convolved(y, block, f"conv{one}"), block, f"bn{one}"))
            y = normalized(convolved(y, block, f"conv{two}", stride, groups=y.shape[1]), block, f"bn{two}")
            x = shuffled(kept, F.relu(normalized(convolved(y, block, f"conv{three}"), block, f"bn{three}")))
            place += 1
    x = F.relu(normalized(convolved(x, names, "conv2"), names, "bn2"))
    return linear(averaged(x), names, "linear")
