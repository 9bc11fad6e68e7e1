"""A folder of images: PATH/train/CLASS with files at any depth, and val/ or test/ beside train/."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dfkd_lab.data import files, image_file
from dfkd_lab.data.files import LeftOut
from dfkd_lab.data.split import Split
from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable, steering

TRAINING, EVALUATION = ("train",), ("val", "test")
BOTH = (*TRAINING, *EVALUATION)
OTHER_SPLITS = {*BOTH, "valid", "validation", "eval", "dev"}
READING = 2
"""Rises when the same files come to give other pixels, labels or images: what was measured before does not count."""


@dataclass
class Listing:
    """The files of a split: those that are read with their labels, and those that are not."""

    classes: list[str]
    rows: list[tuple[Path, int]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def find(path: str, splits: Sequence[str]) -> Path:
    """The first of ``splits`` that ``path`` has.

    Raises:
        SpecError: if it has none, holds no classes, or other classes than another split, whose labels would then mean
            something else; or if its name is not UTF-8.
    """
    name = f"data = 'folder:{printable(path)}'"
    with files.looked_for(name, path):
        root = Path(path).expanduser()
        present = [root / split for split in splits if (root / split).is_dir()]
        if not present:
            wanted = " or ".join(f"{split}/" for split in splits)
            hint = f"; say folder:{printable(root.parent)}" if root.name in splits else ""
            raise SpecError(
                f"{name}: there is no {wanted} in {printable(root)}; it must hold a folder for each class{hint}"
            )
        _check_names(name, present[0])
        _check_splits(name, present[0], [each for split in BOTH if (each := root / split).is_dir()])
    return present[0]


def _check_names(name: str, split: Path) -> None:
    """Refuse ``split`` of the data set ``name`` if it holds no classes, or one that a teacher's card cannot name.

    Raises:
        SpecError: saying which.
        OSError: if it cannot be listed.
    """
    classes, here = _classes(split), printable(split)
    if not classes:
        raise SpecError(f"{name}: {here} holds no folders; it must hold one for each class")
    if {*classes} <= OTHER_SPLITS:
        raise SpecError(f"{name}: {here} holds splits ({files.few(classes)}), not classes; name that folder")
    if steered := next(filter(steering, classes), ""):
        what = f"the class '{printable(steered)}' in {here} has a {steering(steered)} in its name"
        raise SpecError(f"{name}: {what}; rename the folder")
    if len(classes) == 1:
        raise SpecError(f"{name}: {here} holds one class, '{printable(classes[0])}'; a classifier has at least two")


def _check_splits(name: str, split: Path, present: list[Path]) -> None:
    """Refuse ``split`` of the data set ``name`` if another of all ``present`` has other classes, or is the same folder.

    Raises:
        SpecError: saying which.
        OSError: if a folder cannot be listed.
    """
    classes, here = _classes(split), printable(split)
    for other in present:
        if odd := sorted({*_classes(other)} ^ {*classes}):
            raise SpecError(f"{name}: only one of {here} and {printable(other)} has the class '{printable(odd[0])}'")
        if (other.name in TRAINING) != (split.name in TRAINING) and other.samefile(split):
            raise SpecError(
                f"{name}: {here} and {printable(other)} are one folder; images learned from measure nothing"
            )


def read(path: str, splits: Sequence[str], shape: tuple[int, int, int] | None) -> Split:
    """Images [N, C, H, W] as uint8 and labels [N], with the classes' names in their order, and how they were read.

    The order is that of the names, or that of the numbers where all names are numbers. Hidden files and what is no
    image do not count, and a file with several names counts once. Each image is fitted as
    :func:`dfkd_lab.data.image_file.read` does.

    Raises:
        SpecError: if there is no such split, a class has no images, a file is in two classes, an image cannot be read,
            or ``shape`` is not one that images can have or that memory has room for.
    """
    root, name = find(path, splits), f"data = 'folder:{printable(path)}'"
    if shape is None or shape[0] not in image_file.MODES:
        raise SpecError(f"{name}: images are fitted to a shape [1 or 3, H, W], not to {shape}")
    with files.one_at_a_time():
        listing = _listed(root)
        n = len(listing.rows)
        files.check_room(name, f"{n:,} images of {list(shape)}", n * math.prod(shape))
        images = torch.empty(n, *shape, dtype=torch.uint8)

        def load(place: int) -> list[str]:
            images[place], words, _ = image_file.read(listing.rows[place][0], shape)
            return words

        done = files.decode(n, load)
    labels = torch.tensor([label for _, label in listing.rows])
    return Split(images, labels, tuple(listing.classes), _sentence(root, listing, done))


def _are_numbers(names: Sequence[str]) -> bool:
    return all(re.fullmatch("[0-9]+", name) for name in names)


def _classes(split: Path) -> list[str]:
    names = sorted(each.name for each in split.iterdir() if not files.is_hidden(each.name) and each.is_dir())
    return sorted(names, key=int) if _are_numbers(names) else names


def _listed(root: Path) -> Listing:
    """The images of a split, with their labels.

    Raises:
        SpecError: if a class has none, or a file is in two classes.
    """
    listing = Listing(_classes(root))
    for path in sorted(root.iterdir()):
        if files.is_hidden(path.name):
            listing.left_out.add("hidden", path)
        elif path.name not in listing.classes:
            listing.left_out.add("in no class", path)
    seen: dict[tuple[int, int] | str, tuple[Path, int]] = {}
    for label, name in enumerate(listing.classes):
        before = len(listing.rows)
        found = files.walk(root / name)
        others = [path for path, hidden in found if not _listed_file(listing, path, hidden, label, seen)]
        if len(listing.rows) == before:
            what = f" ({files.few([path.name for path in others])} is none)" if others else ""
            raise SpecError(
                f"class '{printable(name)}' has no images in {printable(root / name)}{what}; put some there, or "
                "remove this folder from every split"
            )
    return listing


def _listed_file(
    listing: Listing, path: Path, hidden: bool, label: int, seen: dict[tuple[int, int] | str, tuple[Path, int]]
) -> bool:
    """Put ``path`` where it belongs; whether that is among the images. ``seen`` are they, each with its label."""
    found = files.status(path)
    if reason := files.why_not_read(path, hidden, found):
        listing.left_out.add(reason, path)
    elif (first := seen.setdefault(files.identity(path, found), (path, label)))[0] == path:
        listing.rows.append((path, label))
        return True
    elif first[1] == label:
        listing.left_out.add("a second name of a file", path)
    else:
        raise SpecError(f"{printable(path)} and {printable(first[0])} are one file in two classes; remove it from one")
    return False


def _sentence(root: Path, listing: Listing, done: Counter[str]) -> str:
    """What was read, what was left out and why, the classes in their order, and what was done to images."""
    names = listing.classes
    kind = "numbers" if _are_numbers(names) else "names"
    parts = [
        f"{len(listing.rows):,} images read from {printable(root)}",
        str(listing.left_out),
        f"{len(names):,} classes in the order of their {kind}: {files.few(names)}",
        *(f"{count:,} {words}" for words, count in sorted(done.items())),
    ]
    return "; ".join(parts)
