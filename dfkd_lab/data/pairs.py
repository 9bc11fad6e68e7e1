"""Pairs of an image and a mask of class numbers, in two folders: ROOT/val/images and ROOT/val/masks, or any two."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dfkd_lab.data import files, image_file, mask_file, published
from dfkd_lab.data.files import LeftOut
from dfkd_lab.data.folder import BOTH, TRAINING
from dfkd_lab.data.split import Split
from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable

IMAGES, MASKS = "images", "masks"
IGNORE = 255
"""The number in a mask that counts nowhere; a class it cannot be."""
READING = 1
"""Rises when the same files come to give other pixels or labels: what was measured before does not count."""


class Folders(NamedTuple):
    """Where the images of a split are, and their masks."""

    images: Path
    masks: Path

    @classmethod
    def below(cls, name: str, place: Path) -> Folders:
        """Those of ``place``, for the data set ``name``.

        Raises:
            SpecError: if it lacks one.
        """
        for each in (IMAGES, MASKS):
            if not (place / each).is_dir():
                wanted = f"it must hold {IMAGES}/ and {MASKS}/, or val/ or test/ that do"
                raise SpecError(f"{name}: there is no {each}/ in {printable(place)}; {wanted}")
        return cls(place / IMAGES, place / MASKS)

    def facts(self) -> tuple[object, ...]:
        """What changes when a file does."""
        return (READING, *map(files.facts, self))


def find(path: str, splits: Sequence[str]) -> Folders:
    """The folders of the first of ``splits`` that ``path`` has, or of ``path`` if it is one set, to measure on.

    Args:
        path: ROOT, which holds images/ and masks/, or train/, val/ or test/ that do; or IMAGES,MASKS.
        splits: Likeliest first.

    Raises:
        SpecError: if a folder is not there, there is nothing to train on, or it is what is measured on; or if the name
            is not UTF-8.
    """
    name = f"data = 'folder-pairs:{printable(path)}'"
    with files.looked_for(name, path):
        root = Path(path).expanduser()
        if places := [root / split for split in splits if (root / split).is_dir()]:
            found = Folders.below(name, places[0])
            _check_apart(name, root, places[0])
            return found
        if tuple(splits) == TRAINING:
            raise SpecError(f"{name} has no train/, which a teacher learns from; give ROOT with train/ and val/ in it")
        return Folders.below(name, root) if root.is_dir() else _two_folders(name, path)


def _check_apart(name: str, root: Path, place: Path) -> None:
    for other in (root / split for split in BOTH if (root / split / IMAGES).is_dir()):
        if (other.name in TRAINING) != (place.name in TRAINING) and (other / IMAGES).samefile(place / IMAGES):
            both = f"{printable(place / IMAGES)} and {printable(other / IMAGES)}"
            raise SpecError(f"{name}: {both} are one folder; images learned from measure nothing")


def _two_folders(name: str, path: str) -> Folders:
    """Those before and behind a comma; a folder may have commas in its name."""
    parts = path.split(",")
    ways = [(",".join(parts[:place]), ",".join(parts[place:])) for place in range(1, len(parts))]
    found = [Folders(Path(before).expanduser(), Path(behind).expanduser()) for before, behind in ways]
    for each in found:
        if each.images.is_dir() and each.masks.is_dir():
            if each.images.samefile(each.masks):
                raise SpecError(f"{name}: images and masks are in one folder; give each a folder of its own")
            return each
    missing = next((each for each in found[0] if not each.is_dir()), path) if found else path
    raise SpecError(
        f"{name}: there is no folder {printable(missing)}; give folder-pairs:IMAGES,MASKS or folder-pairs:ROOT"
    )


def find_published(name: str, train: bool) -> Folders:
    """The folders of the data set ``name``, which lies as ``name``/{train,test}/{images,masks} where data sets do.

    Raises:
        SpecError: if it is in none of these places.
    """
    split = Path(name, "train" if train else "test")
    for root in published.roots():
        if (root / split).is_dir():
            return Folders.below(f"data = '{name}'", root / split)
    places = " or ".join(str(root / split) for root in published.roots())
    raise SpecError(
        f"data = '{name}': there is no {places}, and it cannot be downloaded; put its {IMAGES}/ and {MASKS}/ there, or "
        f"set DFKD_DATA to the folder that holds {name}/"
    )


def is_here(name: str) -> bool:
    """Whether the test split of a data set is in one of the places where data sets lie, unread."""
    return any((root / name / "test" / IMAGES).is_dir() for root in published.roots())


def read_published(name: str, shape: tuple[int, int, int], class_names: tuple[str, ...], train: bool) -> Split:
    """One split of a data set that :func:`find_published` finds, as :func:`read` gives it.

    Raises:
        SpecError: as the two do.
    """
    return read(f"data = '{name}'", find_published(name, train), shape, len(class_names), class_names)


def read(
    name: str,
    folders: Folders,
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
    class_names: tuple[str, ...] = (),
) -> Split:
    """Images [N, C, H, W] and the classes of their pixels [N, H, W], both uint8; 255 is a pixel that does not count.

    A mask goes by the name of its image, whatever the suffixes. Hidden files, what is no image, and what has no partner
    are left out, which the reading says.

    Args:
        name: Of the data set, as a message begins.
        folders: Of the images and of the masks; both may have folders inside.
        shape: [1 or 3, H, W] that images are fitted to (bilinear), and masks (nearest); None takes images of one size.
        classes: How many there are, where that is known; else as many as the largest number says.
        class_names: In the order of the numbers, which are the names where nothing is given.

    Raises:
        SpecError: if there are no pairs, or fewer than two classes in them; two files go by one name; a mask is of
            another size than its image, or holds anything but class numbers; a file cannot be read; ``shape`` is not
            one that images can have, or that memory has room for.
    """
    if shape is not None and shape[0] not in image_file.MODES:
        raise SpecError(f"{name}: images are fitted to a shape [1 or 3, H, W], not to {shape}")
    if classes is not None and classes > IGNORE:
        raise SpecError(f"{name}: masks number at most {IGNORE} classes, and {classes} are known; {IGNORE} is ignored")
    with files.one_at_a_time():
        rows, left_out = _listed(name, folders)
        images, labels, done = _decoded(name, rows, shape, classes or IGNORE)
    number, said = _counted(name, labels, classes)
    parts = [
        f"{len(rows):,} pairs read from {printable(folders.images)} and {printable(folders.masks)}",
        str(left_out),
        said,
        *(f"{count:,} {words}" for words, count in sorted(done.items())),
    ]
    return Split(images, labels, class_names or tuple(map(str, range(number))), "; ".join(parts), IGNORE)


def _counted(name: str, labels: Tensor, classes: int | None) -> tuple[int, str]:
    """How many classes there are, and in words how many occur, and what share of the pixels does not count.

    Raises:
        SpecError: if fewer than two occur.
    """
    counts = labels.flatten().bincount(minlength=IGNORE + 1)
    occurring = counts[:IGNORE].nonzero().flatten().tolist()
    if len(occurring) < 2:
        only = f"class {occurring[0]}" if occurring else "no class"
        raise SpecError(
            f"{name}: the masks hold {only} and nothing but ignored pixels ({IGNORE}); number classes 0, 1 ..."
        )
    number, ignored = classes or occurring[-1] + 1, counts[IGNORE] / counts.sum()
    return number, f"{number} classes, of which {len(occurring)} occur; {ignored:.1%} of the pixels ignored ({IGNORE})"


def _listed(name: str, folders: Folders) -> tuple[list[tuple[Path, Path]], LeftOut]:
    """The pairs in the order of their names, and what is in none.

    Raises:
        SpecError: if there are none.
    """
    left_out = LeftOut()
    images, masks = (_by_name(root, left_out) for root in folders)
    for found, others, reason in ((images, masks, "without a mask"), (masks, images, "without an image")):
        for each in sorted(found.keys() - others.keys()):
            left_out.add(reason, found[each])
    rows = [(images[each], masks[each]) for each in sorted(images.keys() & masks.keys())]
    if not rows:
        here, there = map(printable, folders)
        raise SpecError(f"{name}: no mask in {there} has the name of an image in {here}; {left_out}")
    return rows, left_out


def _by_name(root: Path, left_out: LeftOut) -> dict[str, Path]:
    """The images below ``root`` by their path there without the suffix.

    Raises:
        SpecError: if two have the same.
    """
    found: dict[str, Path] = {}
    for path, hidden in files.walk(root):
        if reason := files.why_not_read(path, hidden, files.status(path)):
            left_out.add(reason, path)
        elif (first := found.setdefault(path.relative_to(root).with_suffix("").as_posix(), path)) != path:
            both = f"{printable(first)} and {printable(path)}"
            raise SpecError(f"{both} have one name but for the suffix, by which masks go; remove or rename one")
    return found


def _decoded(
    name: str, rows: list[tuple[Path, Path]], shape: tuple[int, int, int] | None, classes: int
) -> tuple[Tensor, Tensor, Counter[str]]:
    """All images [N, C, H, W] and labels [N, H, W], and to how many of them something was done."""
    n, fitted = len(rows), shape or image_file.decode(rows[0][0], image_file.shape_of)
    size = fitted[1:]
    files.check_room(name, f"{n:,} images of {list(fitted)} and their masks", n * (math.prod(fitted) + math.prod(size)))
    images, labels = (torch.empty(n, *each, dtype=torch.uint8) for each in (fitted, size))

    def load(place: int) -> list[str]:
        image, mask = rows[place]
        images[place], words, frame = image_file.read(image, fitted)
        if frame.seen != size and shape is None:
            first = f"{printable(rows[0][0])} {list(size)}"
            raise SpecError(
                f"{printable(image)} is {list(frame.seen)} pixels high and wide, and {first}; give images of one size, "
                "or the shape to fit them to"
            )
        labels[place] = mask_file.read(mask, frame, size, classes, IGNORE)
        return words if frame.seen == size else [*words, f"fitted to {list(size)} pixels, masks by the nearest"]

    return images, labels, files.decode(n, load)
