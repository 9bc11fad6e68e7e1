"""Real data, for measuring and for training a teacher. The only package that reads any.

Distillation never sees it: evaluation sets are loaded into memory before a run is sealed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from dfkd_lab.data import files, folder, pairs, published
from dfkd_lab.data.registry import NORMALIZATIONS, ROWS, DataSet, find
from dfkd_lab.data.split import Split, normalization
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import unknown
from dfkd_lab.system.text import printable

FOLDER = "folder:"
"""In front of a path it names a folder of images, which is no row of the registry."""
PAIRS = "folder-pairs:"
"""In front of one path or two it names images and the classes of their pixels, which are no row either."""
OWN = (FOLDER + "PATH", PAIRS + "IMAGES,MASKS")


class Names(Mapping[str, DataSet]):
    """The names of the registry, as they are when they are asked for; ``more`` come behind them."""

    def __init__(self, *more: str):
        self._more = more

    def __getitem__(self, name: str) -> DataSet:
        return ROWS[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*ROWS, *self._more])

    def __len__(self) -> int:
        return len(ROWS) + len(self._more)

    def __contains__(self, name: object) -> bool:
        return name in ROWS or name in self._more


TRAINING_SETS = Names()
EVALUATION_SETS = Names("none")


def check(name: str) -> None:
    """Refuse what cannot be an evaluation set; a folder must be there, a published set may still be downloaded.

    Raises:
        SpecError: for a name nobody knows, a folder without a val/ or test/ folder of classes, or pairs of which a
            folder is missing.
    """
    if name.startswith(FOLDER):
        folder.find(name.removeprefix(FOLDER), folder.EVALUATION)
    elif name.startswith(PAIRS):
        pairs.find(name.removeprefix(PAIRS), folder.EVALUATION)
    elif name not in EVALUATION_SETS:
        raise SpecError("data: " + unknown(name, (*EVALUATION_SETS, *OWN), "data set"))
    elif (row := find(name)) and row.folder:
        pairs.find_published(row.folder, train=False)


def task(name: str) -> str:
    """What the labels of the data set ``name`` are for, "classification" or "segmentation"; "" of "none"."""
    row = find(name)
    if name == "none":
        return ""
    return "segmentation" if name.startswith(PAIRS) else row.task if row else "classification"


def training_set(name: str, shape: tuple[int, int, int] | None = None, classes: int | None = None) -> Split:
    """The training split called ``name``, for references and teachers; no image of it is in the evaluation set.

    Args:
        name: Of a data set, or folder:PATH, or folder-pairs:ROOT.
        shape: [C, H, W] that the images of a folder are fitted to; the other sets have their own.
        classes: How many there are, where a network says so: the pixels of folder-pairs: may be of no other.

    Raises:
        SpecError: for a name that has none, or if its files are not there or not what they should be.
    """
    if name.startswith((FOLDER, PAIRS)):
        return _own(name, folder.TRAINING, shape, classes)
    if name not in ROWS:
        raise SpecError(unknown(name, (*TRAINING_SETS, *OWN), "data set with training images"))
    return ROWS[name].read(True)


def evaluation_set(name: str, shape: tuple[int, int, int] | None = None, classes: int | None = None) -> Split | None:
    """The held-out split called ``name``; None for "none".

    Args:
        name: Of a data set, or folder:PATH, or folder-pairs:IMAGES,MASKS, or folder-pairs:ROOT.
        shape: As for :func:`training_set`.
        classes: As for :func:`training_set`.

    Raises:
        SpecError: for a name nobody knows, or if its files are not there or not what they should be.
    """
    check(name)
    if name == "none":
        return None
    if name.startswith((FOLDER, PAIRS)):
        return _own(name, folder.EVALUATION, shape, classes)
    return ROWS[name].read(False)


def _own(name: str, splits: tuple[str, ...], shape: tuple[int, int, int] | None, classes: int | None) -> Split:
    if name.startswith(FOLDER):
        return folder.read(name.removeprefix(FOLDER), splits, shape)
    found = pairs.find(name.removeprefix(PAIRS), splits)
    return pairs.read(f"data = '{printable(name)}'", found, shape, classes)


def identity(name: str, shape: tuple[int, int, int]) -> str:
    """A hash of which images the evaluation set ``name`` holds, without reading them: what a measurement is kept by.

    Of a published set it goes by the checksums of its files, of a folder by the names, sizes and times of its files.
    """
    row = find(name)
    if name.startswith(FOLDER):
        root = folder.find(name.removeprefix(FOLDER), folder.EVALUATION)
        text = repr((name, shape, folder.READING, files.facts(root)))
    elif name.startswith(PAIRS):
        text = repr((name, shape, pairs.find(name.removeprefix(PAIRS), folder.EVALUATION).facts()))
    elif row and row.folder:
        text = repr((name, pairs.find_published(row.folder, train=False).facts()))
    else:
        text = repr((name, published.files_of(row.source, train=False) if row and row.source else ()))
    return hashlib.sha256(text.encode()).hexdigest()


__all__ = [
    "EVALUATION_SETS",
    "FOLDER",
    "NORMALIZATIONS",
    "PAIRS",
    "TRAINING_SETS",
    "DataSet",
    "Split",
    "check",
    "evaluation_set",
    "find",
    "identity",
    "normalization",
    "task",
    "training_set",
]
