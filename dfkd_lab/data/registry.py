"""One row a data set: what it is, how it is read, and what suits it. A new data set is a new row, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dfkd_lab.data import digits, pairs, published, scenes
from dfkd_lab.data.split import Split

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation, a value a channel."""

DIGITS = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
CAMVID = ("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian",
          "Bicyclist")  # fmt: skip


@dataclass(frozen=True)
class DataSet:
    """A data set that is known by name; folders of images are not, they have the teacher's shape."""

    read: Callable[[bool], Split]
    """``read(train)`` gives a split."""
    shape: tuple[int, int, int]
    """Of an image as it is measured on, [C, H, W]."""
    classes: int
    normalization: Statistics
    presets: tuple[str, ...]
    """The families of method settings that suit it, likeliest first."""
    mirrors: bool
    """Whether an image means the same in a mirror."""
    crop_padding: int
    """Pixels by which the usual random crop moves."""
    class_names: tuple[str, ...] = ()
    task: str = "classification"
    """Or "segmentation", where labels are of pixels."""
    ignore: int | None = None
    """A label that counts nowhere."""
    source: str = ""
    """Its class in torchvision.datasets, where that reads it."""
    folder: str = ""
    """Where it lies below the places of data sets, as pairs of images and masks, which nobody downloads."""
    crop: tuple[int, int] | None = None
    """[H, W] of the random crops that are learned from and synthesized; None where whole images are."""

    @property
    def synthesis_shape(self) -> tuple[int, int, int]:
        """Of an image that is learned from or synthesized, [C, H, W]."""
        return (self.shape[0], *self.crop) if self.crop else self.shape

    @property
    def is_here(self) -> bool:
        """Whether it can be read without a download."""
        if self.folder:
            return pairs.is_here(self.folder)
        return not self.source or published.is_here(self.source, train=False)


def from_torchvision(name: str, source: str, **facts: object) -> DataSet:
    """A row that torchvision reads, verifies and downloads."""
    return DataSet(read=partial(published.read, name, source), source=source, **facts)  # type: ignore[arg-type]


def from_pairs(name: str, shape: tuple[int, int, int], class_names: tuple[str, ...], **facts: object) -> DataSet:
    """A row of images and masks of class numbers, which lie as ``name``/{train,test}/{images,masks}; 255 is ignored.

    They are fitted to ``shape``; ``$DFKD_DATA`` or the user's cache has that folder.
    """
    return DataSet(
        read=partial(pairs.read_published, name, shape, class_names),
        shape=shape,
        classes=len(class_names),
        class_names=class_names,
        task="segmentation",
        ignore=pairs.IGNORE,
        folder=name,
        **facts,  # type: ignore[arg-type]
    )


ROWS: dict[str, DataSet] = {
    "digits": DataSet(
        read=digits.read,
        shape=(1, 16, 16),
        classes=10,
        normalization=((0.3053,), (0.3312,)),
        presets=("digits",),
        mirrors=False,
        crop_padding=1,
        class_names=DIGITS,
    ),
    "cifar10": from_torchvision(
        "cifar10",
        "CIFAR10",
        shape=(3, 32, 32),
        classes=10,
        normalization=((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        presets=("cifar10", "cifar"),
        mirrors=True,
        crop_padding=4,
        class_names=CIFAR10,
    ),
    "cifar100": from_torchvision(
        "cifar100",
        "CIFAR100",
        shape=(3, 32, 32),
        classes=100,
        normalization=((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        presets=("cifar100", "cifar"),
        mirrors=True,
        crop_padding=4,
    ),
    "mnist": from_torchvision(
        "mnist",
        "MNIST",
        shape=(1, 28, 28),
        classes=10,
        normalization=((0.1307,), (0.3081,)),
        presets=("small_gray",),
        mirrors=False,
        crop_padding=3,
        class_names=DIGITS,
    ),
    "fashion_mnist": from_torchvision(
        "fashion_mnist",
        "FashionMNIST",
        shape=(1, 28, 28),
        classes=10,
        normalization=((0.2860,), (0.3530,)),
        presets=("small_gray",),
        mirrors=True,
        crop_padding=3,
        class_names=FASHION,
    ),
    "svhn": from_torchvision(
        "svhn",
        "SVHN",
        shape=(3, 32, 32),
        classes=10,
        normalization=((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        presets=("svhn", "cifar"),
        mirrors=False,
        crop_padding=4,
        class_names=DIGITS,
    ),
    "scenes": DataSet(
        read=scenes.read,
        shape=(1, scenes.SIDE, scenes.SIDE),
        classes=len(scenes.CLASS_NAMES),
        normalization=((0.3206,), (0.285,)),
        presets=("segmentation",),
        mirrors=False,
        crop_padding=2,
        class_names=scenes.CLASS_NAMES,
        task="segmentation",
    ),
    "camvid": from_pairs(
        "camvid",
        shape=(3, 180, 240),
        class_names=CAMVID,
        normalization=((0.5,) * 3, (0.5,) * 3),
        presets=("segmentation",),
        mirrors=True,
        crop_padding=0,
        crop=(128, 128),
    ),
}

NORMALIZATIONS: dict[str, Statistics] = {
    **{name: row.normalization for name, row in ROWS.items()},
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""Input normalizations by name: those of the data sets, and three that belong to none of them."""


def find(name: str) -> DataSet | None:
    """The row called ``name``; None for a folder, or no data at all."""
    return ROWS.get(name)
