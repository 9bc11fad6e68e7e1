"""Whether a folder's classes are the teacher's outputs: as many, by the same names, in the same order."""

from __future__ import annotations

import torch
from torch import Tensor

from dfkd_lab import data
from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable
from dfkd_lab.teachers.checkpoints import Card

CURE = "name the folders 0, 1, 2 ... after the teacher's outputs"
DEVIATIONS = 3
"""Standard deviations by which a guess must be exceeded to be none; of a share of N images one is at most .5 / √N."""


def check_names(card: Card, split: data.Split) -> None:
    """Refuse other classes than the teacher's, by their number and, where both have names, by them.

    Raises:
        SpecError: naming a class that is missing, or is another output of the teacher.
    """
    names, known = split.class_names, names_of(card)
    classes = len(names) or int(split.labels.max()) + 1
    if classes != card.classes:
        lacking = [name for name in known if name not in names]
        more = [name for name in names if name not in known]
        detail = "; it needs a folder for each of the teacher's classes, and no other" if names else ""
        if {*names} & {*known}:  # else they go by other words
            odd = f"it lacks '{printable(lacking[0])}'" if lacking else f"it also has '{printable(more[0])}'"
            detail = f": {odd}{detail}"
        raise SpecError(f"the teacher knows {card.classes} classes, the evaluation data has {classes}{detail}")
    if names == tuple(map(str, range(classes))):  # outputs, whatever the teacher calls them
        return
    for place, name in enumerate(names):
        if name in known and known.index(name) != place:
            raise SpecError(
                f"the class '{printable(name)}' is output {known.index(name)} of the teacher, and number {place} of "
                f"the evaluation data; {CURE}"
            )


def names_of(card: Card) -> tuple[str, ...]:
    """The names of the teacher's outputs; none where neither its card nor the data set it is of has any."""
    row = data.find(card.data)
    return card.class_names or (row.class_names if row else ())


def shown_names(card: Card, split: data.Split | None = None, evaluated_on: str = "") -> tuple[str, ...]:
    """What the teacher's outputs are called where they are shown.

    By their names, else by those of the evaluation set if it has as many classes, else by their numbers.

    Args:
        card: Of the teacher.
        split: The images that its student is evaluated on.
        evaluated_on: Their data set.
    """
    published = data.find(evaluated_on)
    known = (names_of(card), split.class_names if split else (), published.class_names if published else ())
    return next((names for names in known if len(names) == card.classes), tuple(map(str, range(card.classes))))


def check(logits: Tensor, split: data.Split, margin: float) -> None:
    """Refuse folders in another order than the outputs, seen by what the teacher says of most images of each class.

    Args:
        logits: Of the images, [N, K].
        split: Images of a folder with K classes; others have their order from who published them.
        margin: By how much the accuracy must be better in that order.

    Raises:
        SpecError: naming a class and the output that it is.
    """
    names, n, classes = split.class_names, *logits.shape
    if not names:
        return
    counts = torch.zeros(classes, classes).index_put_((split.labels, logits.argmax(1)), torch.ones(n), accumulate=True)
    outputs = counts.argmax(1)
    accuracy, other = float(counts.diagonal().sum()) / n, float(counts.max(1).values.sum()) / n
    is_order = len(outputs.unique()) == classes  # a teacher that guesses answers with few of its outputs
    if is_order and other > accuracy + margin and other > 0.5 + DEVIATIONS * 0.5 / n**0.5:
        place = int((outputs != torch.arange(classes)).nonzero()[0])
        name = printable(names[place])
        raise SpecError(
            f"the order of the classes looks wrong: accuracy {accuracy:.3f}, and {other:.3f} if "
            f"'{name}' is output {int(outputs[place])} of the teacher, not {place}, and so on; {CURE}"
        )
