"""A folder of images: PATH/train/CLASS with files at any depth, and val/ or test/ beside train/."""

from __future__ import annotations

import math
import os
import re
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dfkd_lab.data import image_file
from dfkd_lab.data.split import Split
from dfkd_lab.errors import SpecError
from dfkd_lab.system.device import free_memory
from dfkd_lab.system.text import printable

TRAINING, EVALUATION = ("train",), ("val", "test")
BOTH = (*TRAINING, *EVALUATION)
OTHER_SPLITS = {*BOTH, "valid", "validation", "eval", "dev"}
LEFT_BEHIND = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "Thumbs.db", "desktop.ini", "lost+found"}
"""By systems and programs; they are no classes and no images, like whatever begins with a dot."""
AT_ONCE = 64
"""Images that a thread decodes before it asks for more."""
NAMED = 3
"""Names that a sentence gives before it says how many more there are."""
READING = 2
"""Rises when the same files come to give other pixels, labels or images: what was measured before does not count."""

_one_folder = threading.Lock()


@dataclass
class Listing:
    """The files of a split: those that are read with their labels, and the names of those that are not, by reason."""

    classes: list[str]
    rows: list[tuple[Path, int]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: Path) -> None:
        """Remember that ``path`` is not read."""
        self.left_out.setdefault(reason, []).append(path.name)


def find(path: str, splits: Sequence[str]) -> Path:
    """The first of ``splits`` that ``path`` has.

    Raises:
        SpecError: if it has none, holds no classes, or other classes than another split, whose labels would then mean
            something else; or if its name is not UTF-8.
    """
    name = f"data = 'folder:{printable(path)}'"
    try:
        path.encode()  # for records and screens
        root = Path(path).expanduser()
        present = [root / split for split in splits if (root / split).is_dir()]
        if not present:
            wanted = " or ".join(f"{split}/" for split in splits)
            hint = f"; say folder:{printable(root.parent)}" if root.name in splits else ""
            raise SpecError(
                f"{name}: there is no {wanted} in {printable(root)}; it must hold a folder for each class{hint}"
            )
        _check_classes(name, present[0], [each for split in BOTH if (each := root / split).is_dir()])
    except UnicodeEncodeError:
        raise SpecError(f"{name} is not UTF-8; rename the folder, or give a link to it") from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"{name} cannot be listed ({reason}); give a folder that may be read") from None
    return present[0]


def _check_classes(name: str, split: Path, present: list[Path]) -> None:
    """Refuse ``split`` of the data set ``name`` if it holds no classes, or not those of all ``present`` splits.

    Raises:
        SpecError: saying which.
        OSError: if a folder cannot be listed.
    """
    classes, here = _classes(split), printable(split)
    if not classes:
        raise SpecError(f"{name}: {here} holds no folders; it must hold one for each class")
    if {*classes} <= OTHER_SPLITS:
        raise SpecError(f"{name}: {here} holds splits ({_few(classes)}), not classes; name that folder")
    for other in present:
        if odd := sorted({*_classes(other)} ^ {*classes}):
            raise SpecError(f"{name}: only one of {here} and {printable(other)} has the class '{printable(odd[0])}'")
        if (other.name in TRAINING) != (split.name in TRAINING) and other.samefile(split):
            raise SpecError(
                f"{name}: {here} and {printable(other)} are one folder; images learned from measure nothing"
            )
    if len(classes) == 1:
        raise SpecError(f"{name}: {here} holds one class, '{printable(classes[0])}'; a classifier has at least two")


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
    with _one_folder, warnings.catch_warnings():
        # of Pillow's, about sizes, which are looked at here, and about damaged descriptions, which nobody reads
        warnings.filterwarnings("ignore", module="PIL")
        listing = _listed(root)
        size, free = len(listing.rows) * math.prod(shape), free_memory(torch.device("cpu"))
        if free is not None and size > free:
            needs = f"{len(listing.rows):,} images of {list(shape)} take {size / 2**30:.1f} GiB of memory"
            raise SpecError(f"{name}: {needs}, and {free / 2**30:.1f} GiB are free; give fewer images")
        images, done = _decoded(listing.rows, shape)
    labels = torch.tensor([label for _, label in listing.rows])
    return Split(images, labels, tuple(listing.classes), _sentence(root, listing, done))


def visible_files(root: Path) -> list[Path]:
    """All files below ``root`` that may count."""
    return [path for path, hidden in _walk(root) if not hidden and _is_file(_stat(path))]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in LEFT_BEHIND


def _are_numbers(names: Sequence[str]) -> bool:
    return all(re.fullmatch("[0-9]+", name) for name in names)


def _classes(split: Path) -> list[str]:
    names = sorted(each.name for each in split.iterdir() if not _is_hidden(each.name) and each.is_dir())
    return sorted(names, key=int) if _are_numbers(names) else names


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """What is below ``folder``, links followed, each with whether it is hidden; a hidden folder is not entered.

    Raises:
        SpecError: if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise SpecError(f"{printable(error.filename)} cannot be listed ({error.strerror}); make it readable") from None

    entered = {_identity(folder, _stat(folder))}
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here, inside = Path(place), []
        for name in sorted(folders):
            if _is_hidden(name):
                yield here / name, True
            elif (
                same := _identity(here / name, _stat(here / name))
            ) not in entered:  # a link may lead round in a circle
                entered.add(same)
                inside.append(name)
        folders[:] = inside
        yield from ((here / name, _is_hidden(name)) for name in sorted(files))


def _stat(path: Path) -> os.stat_result | None:
    """None of a link to nothing, and of what may not be looked at."""
    try:
        return path.stat()
    except OSError:
        return None


def _is_file(found: os.stat_result | None) -> bool:
    return found is not None and stat.S_ISREG(found.st_mode)


def _identity(path: Path, found: os.stat_result | None) -> tuple[int, int] | str:
    """The same for all names of a file or a folder; some file systems number none."""
    return (found.st_dev, found.st_ino) if found and found.st_ino else str(path)


def _listed(root: Path) -> Listing:
    """The images of a split, with their labels.

    Raises:
        SpecError: if a class has none, or a file is in two classes.
    """
    listing = Listing(_classes(root))
    for path in sorted(root.iterdir()):
        if _is_hidden(path.name):
            listing.leave_out("hidden", path)
        elif path.name not in listing.classes:
            listing.leave_out("in no class", path)
    seen: dict[tuple[int, int] | str, tuple[Path, int]] = {}
    for label, name in enumerate(listing.classes):
        before = len(listing.rows)
        others = [path for path, hidden in _walk(root / name) if not _listed_file(listing, path, hidden, label, seen)]
        if len(listing.rows) == before:
            what = f" ({_few([path.name for path in others])} is none)" if others else ""
            raise SpecError(
                f"class '{printable(name)}' has no images in {printable(root / name)}{what}; put some there, or "
                "remove this folder from every split"
            )
    return listing


def _listed_file(
    listing: Listing, path: Path, hidden: bool, label: int, seen: dict[tuple[int, int] | str, tuple[Path, int]]
) -> bool:
    """Put ``path`` where it belongs; whether that is among the images. ``seen`` are they, each with its label."""
    found = _stat(path)
    if hidden:
        listing.leave_out("hidden", path)
    elif found and not _is_file(found):  # a pipe, which would be waited for, or a device
        listing.leave_out("not a file", path)
    elif path.suffix.lower() not in image_file.SUFFIXES and not (found and image_file.is_image(path)):
        listing.leave_out("not an image", path)
    elif (first := seen.setdefault(_identity(path, found), (path, label)))[0] == path:
        listing.rows.append((path, label))
        return True
    elif first[1] == label:
        listing.leave_out("a second name of a file", path)
    else:
        raise SpecError(f"{printable(path)} and {printable(first[0])} are one file in two classes; remove it from one")
    return False


def _decoded(rows: list[tuple[Path, int]], shape: tuple[int, int, int]) -> tuple[Tensor, Counter[str]]:
    """All images [N, C, H, W], and how many of them something was done to."""
    images, done = torch.empty(len(rows), *shape, dtype=torch.uint8), Counter[str]()

    def load(first: int) -> Counter[str]:
        mine = Counter[str]()
        for place in range(first, min(first + AT_ONCE, len(rows))):
            images[place], words = image_file.read(rows[place][0], shape)
            mine.update(words)
        return mine

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for mine in pool.map(load, range(0, len(rows), AT_ONCE)):
            done += mine
    return images, done


def _sentence(root: Path, listing: Listing, done: Counter[str]) -> str:
    """What was read, what was left out and why, the classes in their order, and what was done to images."""
    names, left_out = listing.classes, listing.left_out
    reasons = [f"{len(files):,} {reason}: {_few(files)}" for reason, files in left_out.items()]
    number = sum(map(len, left_out.values()))
    kind = "numbers" if _are_numbers(names) else "names"
    parts = [
        f"{len(listing.rows):,} images read from {printable(root)}",
        f"{number or 'none'} left out" + (f" ({'; '.join(reasons)})" if reasons else ""),
        f"{len(names):,} classes in the order of their {kind}: {_few(names)}",
        *(f"{count:,} {words}" for words, count in sorted(done.items())),
    ]
    return "; ".join(parts)


def _few(names: Sequence[str]) -> str:
    """The first names, and the last if there are more."""
    shown = [*names] if len(names) <= NAMED + 1 else [*names[:NAMED], "...", names[-1]]
    return ", ".join(map(printable, shown))
