"""Networks by name: only what torchvision and timm lack."""

from collections.abc import Callable
from functools import partial

from torch import nn

from dfkd_lab.nets.classifiers import ConvNet
from dfkd_lab.nets.generators import Generator
from dfkd_lab.nets.vae import Encoder
from dfkd_lab.spec import SpecError, unknown

CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "convnet_32": partial(ConvNet, 32),
    "convnet_16": partial(ConvNet, 16),
    "convnet_8": partial(ConvNet, 8),
}


def classifier(name: str, channels: int, classes: int) -> nn.Module:
    """A fresh classifier for images with ``channels`` channels and ``classes`` classes.

    Raises:
        SpecError: if no network has this name.
    """
    if name not in CLASSIFIERS:
        raise SpecError(unknown(name, CLASSIFIERS, "network"))
    return CLASSIFIERS[name](channels=channels, classes=classes)


def parameter_count(module: nn.Module) -> int:
    """The number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


__all__ = ["CLASSIFIERS", "ConvNet", "Encoder", "Generator", "classifier", "parameter_count"]
