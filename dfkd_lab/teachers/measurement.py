"""How right and how sure a teacher is: measured once for these weights and these images, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from dfkd_lab import data, nets
from dfkd_lab.engine.metrics import Accuracy
from dfkd_lab.errors import DamagedFile, SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.nets.wrap import Frozen, copied, folded
from dfkd_lab.system.environment import cache
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.stored import Fields, read_json
from dfkd_lab.teachers import class_order, dense
from dfkd_lab.teachers.calibration import Calibration, logits_of
from dfkd_lab.teachers.checkpoints import Card
from dfkd_lab.teachers.dense import DenseMeasurement
from dfkd_lab.teachers.loading import Teacher

LOW = 0.9
"""An accuracy above which no other normalization can be better by more than ``MARGIN``."""
MARGIN = 0.1
"""A difference in accuracy on some 500 images that is no accident."""


Measurement = Calibration | DenseMeasurement
"""Of a teacher that gives every image a class, or every pixel."""


def examine(teacher: Teacher, split: data.Split | None, device: torch.device | str = "cpu") -> Measurement | None:
    """How right and how sure the teacher is on ``split``, measured now; None without data.

    Args:
        teacher: With its weights.
        split: Labelled images.
        device: Where a copy of the teacher is run, with its batch norms folded.

    Raises:
        SpecError: if classes or image shape do not fit, or another order of the classes or another known
            normalization suits it far better.
    """
    if split is None:
        return None
    check(teacher.card, split)
    if teacher.card.task == "segmentation":
        dense.check_size("on the evaluation images the teacher", teacher.model, split.images, teacher.card.classes)
    device = torch.device(device)
    found_model = folded(teacher.model, tuple(split.images.shape[1:]))
    on_copy = found_model is teacher.model and device.type != "cpu"
    model = (copied(found_model) if on_copy else found_model).to(device)
    if teacher.card.task == "segmentation":
        return dense.measure(model, split, teacher.card.classes, device)
    logits = logits_of(model, split.images, device)
    found = Calibration.of(logits, split.labels)
    if found.accuracy < LOW:
        class_order.check(logits, split, MARGIN)
        _refuse_other_normalization(teacher, split, logits)
    return found


def check(card: Card, split: data.Split) -> None:
    """Refuse images that a teacher of this card cannot be measured on.

    Raises:
        SpecError: if task, classes or image shape do not fit.
    """
    shape = tuple(split.images.shape[1:])
    if card.task == "segmentation":
        dense.check(card, split)
        return
    if split.task == "segmentation":
        raise SpecError("the teacher gives every image a class, and the evaluation data have one for every pixel")
    class_order.check_names(card, split)
    if shape != tuple(card.shape):
        raise SpecError(f"the teacher takes images {list(card.shape)}, the evaluation data has {list(shape)}")


def evaluation_images(card: Card, name: str) -> data.Split | None:
    """The evaluation set ``name`` as a teacher of this card is measured on it; None for "none".

    Raises:
        SpecError: as :func:`dfkd_lab.data.evaluation_set`.
    """
    return data.evaluation_set(name, card.shape, card.classes)


def real_images(card: Card, name: str) -> data.Split:
    """The training split ``name`` as a reference is given it: of the size that the teacher was taught at.

    Raises:
        SpecError: as :func:`dfkd_lab.data.training_set`.
    """
    split = data.training_set(name, card.shape, card.classes)
    return dense.pieces(split, card.shape) if card.task == "segmentation" else split


def examine_on(teacher: Teacher, name: str) -> tuple[Measurement | None, str]:
    """As :func:`examine`, on the evaluation set ``name``, and how its images were read, if it is a folder.

    Raises:
        SpecError: as :func:`examine`, or if there is no such set.
    """
    split = evaluation_images(teacher.card, name)
    return examine(teacher, split), split.reading if split else ""


def measured(
    teacher: Teacher, name: str, split: data.Split | None, device: torch.device | str = "cpu"
) -> Measurement | None:
    """As :func:`examine`, from the cache where these weights were measured on this evaluation set before.

    Args:
        teacher: With its weights.
        name: Of the evaluation set.
        split: Its images; None without data.
        device: Where it is measured, if it is.

    Raises:
        SpecError: as :func:`examine`.
    """
    if split is None:
        return None
    if (kept := kept_measurement(teacher, name)) is None:
        kept = examine(teacher, split, device)
        assert kept is not None
        path = _path(teacher, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(kept)).encode(), shared=True)
    return kept


def kept_measurement(teacher: Teacher, name: str) -> Measurement | None:
    """What was measured of this teacher on the evaluation set ``name`` before; None if nothing was."""
    if not teacher.sha256 or name == "none":
        return None
    try:
        class_ = DenseMeasurement if teacher.card.task == "segmentation" else Calibration
        shapes: dict[str, Any] = {each.name: float for each in fields(class_)}
        needed = Fields({**shapes, "iou": [(float, None)]} if "iou" in shapes else shapes)
        values = read_json(_path(teacher, name), needed, "")
        return class_(**{name: values[name] for name in needed.needed}) if values else None
    except DamagedFile:
        return None  # it is only a cache: what cannot be read is measured anew


def _path(teacher: Teacher, name: str) -> Path:
    card = teacher.card
    net = (python_file.identity(card.net), *nets.revision(card.net).values())
    facts = (teacher.sha256, *net, card.shape, card.mean, card.std, data.identity(name, card.shape))
    return cache() / "measurements" / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.json"


def _refuse_other_normalization(teacher: Teacher, split: data.Split, logits: torch.Tensor) -> None:
    """Compare with the other known ones on some 500 images; ``logits`` [N, K] are those with its own."""
    every = max(1, len(split.labels) // 500)
    accuracy_of = Accuracy(split.images[::every], split.labels[::every])
    channels, side, _ = teacher.card.shape
    fitting = {
        name: each
        for name, each in data.NORMALIZATIONS.items()
        if name in ("half", "none") or (len(each[0]) == channels and _side(name, side) == side)
    }
    accuracy = float((logits[::every].argmax(1) == split.labels[::every]).float().mean())
    others = {name: accuracy_of(Frozen(teacher.model.net, *each)) for name, each in fitting.items()}
    best = max(others, key=lambda name: others[name])
    if others[best] > accuracy + MARGIN:
        raise SpecError(
            f"the teacher's normalization looks wrong: accuracy {accuracy:.3f} with mean {teacher.card.mean} and std "
            f"{teacher.card.std}, {others[best]:.3f} with '{best}'; say --normalization {best}"
        )


def _side(name: str, otherwise: int) -> int:
    row = data.find(name)
    return row.shape[1] if row else otherwise
