"""Whether a teacher can be measured on the data that a run names, as far as that is known without reading them."""

from __future__ import annotations

from dfkd_lab import data
from dfkd_lab.data import DataSet
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import RunSpec
from dfkd_lab.teachers import Card

LABELLED = {"classification": "an image", "segmentation": "a pixel"}
"""What has a class, by task."""


def refuse_other_data(spec: RunSpec, card: Card) -> None:
    """Refuse an evaluation set whose labels or images are not those of the teacher with this ``card``.

    Folders of images are fitted to the teacher, and what they hold is looked at when they are read.

    Raises:
        SpecError: naming data, teacher, and what is allowed.
    """
    if spec.data == "none":
        return
    if (task := data.task(spec.data)) != card.task:
        raise SpecError(
            f"data = '{spec.data}' has a class for {LABELLED[task]}, and teacher = '{spec.teacher}' gives one for "
            f"{LABELLED[card.task]}; choose data and a teacher of the same task, or data = 'none'"
        )
    row = data.find(spec.data)
    if row is None or _fits(row, card):
        return
    suiting = [name for name, each in data.TRAINING_SETS.items() if _fits(each, card)]
    own = "folder-pairs:PATH" if card.task == "segmentation" else "folder:PATH"
    raise SpecError(
        f"data = '{spec.data}' has images {list(row.shape)} of {row.classes} classes, and teacher = '{spec.teacher}' "
        f"takes {list(card.shape)} and knows {card.classes}; allowed: {', '.join((*suiting, own, 'none'))}"
    )


def _fits(row: DataSet, card: Card) -> bool:
    """Whether images and classes are the teacher's; one that labels every pixel takes them at any size."""
    if row.task != card.task:
        return False
    if card.task == "segmentation":
        return row.shape[0] == card.shape[0]
    return (row.shape, row.classes) == (tuple(card.shape), card.classes)
