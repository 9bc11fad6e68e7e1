"""Networks by name: ours for small images, torchvision's and timm's for large ones, and those of a user's own file."""

from collections import ChainMap
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file, zoo
from dfkd_lab.nets.batch_norms import keeps_statistics
from dfkd_lab.nets.classifiers import ConvNet, LeNet5
from dfkd_lab.nets.generators import Generator
from dfkd_lab.nets.python_file import trust
from dfkd_lab.nets.resnet import ResNet, WideResNet
from dfkd_lab.nets.unet import UNet
from dfkd_lab.nets.vae import Encoder
from dfkd_lab.nets.wrap import uncompiled, unwrapped
from dfkd_lab.spec import check_new, unknown
from dfkd_lab.system.faults import THEIRS, article, reason
from dfkd_lab.system.rng import preserved


def _of_torchvision(file: str, family: str, *details: Any, channels: int, classes: int) -> nn.Module:
    """A network of a ``file`` beside this one, which is imported late because it imports torchvision."""
    made: nn.Module = getattr(import_module(f"dfkd_lab.nets.{file}"), family)(*details, channels, classes)
    return made


_with_stem = partial(_of_torchvision, "stems")


CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    **{f"convnet_{width}": partial(ConvNet, width) for width in (32, 16, 8)},
    "lenet5": partial(LeNet5, (6, 16, 120), 84),
    "lenet5_half": partial(LeNet5, (3, 8, 60), 42),
    **{f"resnet{6 * n + 2}": partial(ResNet, n, "A") for n in (1, 2, 3, 5, 7, 9, 18)},
    **{f"resnet{6 * n + 2}_b": partial(ResNet, n, "B") for n in (1, 2, 3, 5, 7, 9, 18)},
    **{f"resnet{depth}": partial(_with_stem, "resnet", f"resnet{depth}", False) for depth in (18, 34, 50)},
    **{f"resnet{depth}_maxpool": partial(_with_stem, "resnet", f"resnet{depth}", True) for depth in (18, 34, 50)},
    **{f"wrn{depth}_{k}": partial(WideResNet, depth, k) for depth in (16, 40) for k in (1, 2)},
    **{f"vgg{depth}": partial(_with_stem, "vgg", layers, 3) for depth, layers in ((11, "A"), (16, "D"))},
    **{f"vgg{depth}_5pool": partial(_with_stem, "vgg", layers, 5) for depth, layers in ((11, "A"), (16, "D"))},
    "mobilenet_v2": partial(_with_stem, "mobilenet_v2"),
    "shufflenet_v2": partial(_with_stem, "shufflenet_v2"),
}
"""Our classifiers by name; resnet20 and its like have option A's shortcuts, resnet20_b option B's.

Which public code each of them equals is in docs/networks.md.
"""

SEGMENTERS: dict[str, Callable[..., nn.Module]] = {
    **{f"unet_{width}": partial(UNet, width) for width in (24, 16, 12, 8)},
    "deeplabv3_mobilenet_v2": partial(_of_torchvision, "deeplab", "deeplabv3_mobilenet_v2"),
}
"""Our networks that give a class for each pixel, by name."""

NETWORKS = ChainMap(SEGMENTERS, CLASSIFIERS)
"""All of them, with those that :func:`register` makes known, whatever these are for."""

PUBLISHED = frozenset(NETWORKS)
"""Those that are not a user's own."""

REDEFINED = {"vgg11": "vgg11_5pool", "vgg16": "vgg16_5pool"}
"""Networks that were another one under their name up to 0.2.0; what is written since says ``revision`` 1."""


def register(name: str, build: Callable[[int, int], nn.Module]) -> None:
    """Make a network of your own known under ``name``, in this process; ``build(channels, classes)`` gives a fresh one.

    Whether it is for classification or segmentation, the shape of its logits says.

    Raises:
        SpecError: if the name is taken or cannot be a name.
    """
    check_new(name, NETWORKS, "network")
    CLASSIFIERS[name] = lambda channels, classes: build(channels, classes)


def check(name: str) -> None:
    """Refuse a name that no network has.

    Raises:
        SpecError: with the nearest name, or the cure if timm is missing.
    """
    if python_file.names_file(name):
        python_file.check(name)
    elif ":" in name:
        zoo.check(name)
    elif name not in NETWORKS:
        raise SpecError(unknown(name, NETWORKS, "network", yours="nets.register"))


def classifier(name: str, channels: int, classes: int) -> nn.Module:
    """A fresh network for images with ``channels`` channels and ``classes`` classes, of images or of their pixels.

    ``name`` is one of ``NETWORKS``, "torchvision:NAME", "timm:NAME", or "FILE.py:NAME" of a file that :func:`trust`
    executed.

    Raises:
        SpecError: if no network has this name, it cannot be made, or it cannot take so many channels.
    """
    check(name)
    if python_file.names_file(name):
        return uncompiled(unwrapped(python_file.build(name, channels, classes)))
    if ":" in name:
        return zoo.build(name, channels, classes)
    if is_published(name):
        return NETWORKS[name](channels=channels, classes=classes)
    try:
        made = NETWORKS[name](channels=channels, classes=classes)
    except THEIRS as error:
        raise SpecError(f"'{name}' cannot be made ({reason(error)})") from None
    if not isinstance(made, nn.Module):
        raise SpecError(f"'{name}' gives {article(made)}; allowed: an nn.Module")
    return uncompiled(unwrapped(made))


def is_published(name: str) -> bool:
    """Whether a network is one of ours, torchvision's or timm's, not of a user's own."""
    return name in PUBLISHED or (":" in name and not python_file.names_file(name))


def task_of(name: str) -> str | None:
    """What the network called ``name`` is for; None for one of a user's own, which may be for either.

    Of that, :func:`dfkd_lab.nets.trial.task_of` reads it in the shape of its logits.

    Raises:
        SpecError: as :func:`check`.
    """
    check(name)
    if not is_published(name):
        return None
    return "segmentation" if name in SEGMENTERS or zoo.is_segmentation(name) else "classification"


def maker(name: str) -> object:
    """What makes the network called ``name``: it is the same network as long as this is the same.

    Raises:
        SpecError: as :func:`check`.
    """
    check(name)
    return python_file.identity(name) if python_file.names_file(name) else NETWORKS.get(name)


def is_normed(name: str, channels: int, classes: int) -> bool:
    """Whether the network called ``name`` normalizes its maps (batch, instance or group norm).

    Raises:
        SpecError: as :func:`classifier`.
    """
    with preserved():
        net = classifier(name, channels, classes)
    classes_ = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
    return any(isinstance(layer, classes_) or keeps_statistics(layer) for layer in net.modules())


def revision(name: str) -> dict[str, int]:
    """What to write beside the name of a network that was another one under it before; mostly nothing."""
    return {"revision": 1} if name in REDEFINED else {}


def as_written(name: str, revision: object) -> str:
    """The network that a file means by ``name``, written beside ``revision`` or, before there were any, beside 0."""
    return name if revision else REDEFINED.get(name, name)


def parameter_count(module: nn.Module) -> int:
    """The number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


__all__ = [
    "CLASSIFIERS",
    "NETWORKS",
    "SEGMENTERS",
    "ConvNet",
    "Encoder",
    "Generator",
    "check",
    "classifier",
    "parameter_count",
    "task_of",
    "trust",
]
