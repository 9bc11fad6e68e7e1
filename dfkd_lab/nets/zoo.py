"""Networks of torchvision and timm by name, "torchvision:resnet50" or "timm:convnext_atto"; no weights are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from dfkd_lab.errors import SpecError
from dfkd_lab.spec import unknown

SOURCES = ("torchvision", "timm")


@dataclass(frozen=True)
class Input:
    """What a network's published weights were trained on: square images of ``side`` pixels, (x - mean) / std."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def check(name: str) -> None:
    """Refuse a name that its library does not have.

    Raises:
        SpecError: for an unknown network, or when timm is not installed.
    """
    source, _, net = name.partition(":")
    if source not in SOURCES:
        raise SpecError(unknown(source, SOURCES, "source of networks"))
    known = _torchvision_names() if source == "torchvision" else _timm_names()
    if net not in known:
        raise SpecError(unknown(net, known, f"network of {source}").partition("; known")[0])


def build(name: str, channels: int, classes: int) -> nn.Module:
    """A fresh network of torchvision or timm with its own stem.

    Raises:
        SpecError: for an unknown network, or channels that torchvision's networks cannot take.
    """
    check(name)
    source, _, net = name.partition(":")
    if source == "timm":
        made: nn.Module = _timm().create_model(net, pretrained=False, in_chans=channels, num_classes=classes)
        return made
    if channels != 3:
        raise SpecError(f"the networks of torchvision take images of 3 channels, not {channels}")
    old = {"init_weights": False} if net in ("googlenet", "inception_v3") else {}  # these warn if it is not said
    bare: dict[str, Any] = {"weights_backbone": None} if is_segmentation(name) else {}  # else it is downloaded
    made = _models().get_model(net, weights=None, num_classes=classes, **old, **bare)
    return made


def input_of(name: str) -> Input:
    """The input of the weights that the library publishes for ``name``, read from its configuration.

    Raises:
        SpecError: for an unknown network.
    """
    check(name)
    source, _, net = name.partition(":")
    if source == "torchvision":
        preset = _models().get_model_weights(net).DEFAULT.transforms()
        side = getattr(preset, "crop_size", preset.resize_size)[0]  # for segmentation images are resized, not cropped
        return Input(side, tuple(preset.mean), tuple(preset.std))
    config: Any = _timm().get_pretrained_cfg(net)
    return Input(config.input_size[-1], tuple(config.mean), tuple(config.std))


def is_segmentation(name: str) -> bool:
    """Whether "torchvision:NAME" is a network of torchvision that gives a class for each pixel."""
    source, _, net = name.partition(":")
    return source == "torchvision" and net in _models().list_models(_models().segmentation)


def _models() -> ModuleType:
    from torchvision import models  # here, so that `check` of the command line can name a broken torchvision

    return models


def _torchvision_names() -> list[str]:
    return [name for module in (_models(), _models().segmentation) for name in _models().list_models(module)]


def _timm_names() -> list[str]:
    """Architectures, and architectures with the tag of their weights."""
    return [*_timm().list_models(), *_timm().list_pretrained()]


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise SpecError("timm is not installed; run: pip install 'dfkd_lab[timm]' (or: pip install timm)") from None
    return timm
