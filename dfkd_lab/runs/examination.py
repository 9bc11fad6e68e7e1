"""What an examination of a run found, and the one file of the run folder that holds it.

``examination.safetensors`` has tensors alone, of at most ``MOST_BYTES``, and beside them a JSON text; whoever wrote it,
what comes out of :func:`read` fits together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from dfkd_lab.errors import DamagedFile, RunError
from dfkd_lab.system.faults import reason
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.stored import Fields, parsed

FILE, FACTS = "examination.safetensors", "examination"
CURE = "remove it, and examine the run again"
MOST_CLASSES, MOST_IMAGES, MOST_IMAGE_BYTES = 1000, 1000, 32 * 2**20
"""Two matrices of so many classes take 16 MB, and images no more than that; beyond, fewer images are kept."""
MOST_BYTES = 64 * 2**20
TOP = 5
"""Classes that each network finds likeliest in an image."""
COUNTED = Fields(needed={"of": str, "n": int})
SHAPE = Fields(
    needed={
        **dict.fromkeys(("round", "rounds"), int),
        **dict.fromkeys(("student_sha256", "teacher_sha256", "task"), str),
        **{"class_names": [str], "evaluation": (COUNTED, None), "synthetic": (COUNTED, None), "remarks": [str]},
        "measured": Fields(others=object),
    }
)
MATRICES = ("evaluation", "synthetic")
PER_IMAGE = {
    "images": torch.uint8,
    "classes": torch.int64,
    "teacher": torch.float32,
    "student": torch.float32,
    "targets": torch.int64,
    "ages": torch.int64,
    "losses": torch.float32,
    "history": torch.float32,
    "history_rounds": torch.int64,
}
KNOWN = ("targets", "ages", "losses", "history", "history_rounds")
"""What only some memories keep of an image."""


@dataclass(frozen=True)
class Confusion:
    """How often the student said a class (columns) where the label, or the teacher, said another (rows)."""

    counts: Tensor
    """[K, K], whole numbers: of images, or of pixels where each has a class."""
    of: str
    """Which images, in words."""
    n: int
    """Images."""

    @property
    def share(self) -> float:
        """Of all images, or pixels, the share in which both say the same, in [0, 1]."""
        return float(self.counts.diag().sum()) / max(1, int(self.counts.sum()))

    @property
    def by_class(self) -> list[float | None]:
        """The same of each row; None where it has nothing."""
        rows, right = self.counts.sum(1).tolist(), self.counts.diag().tolist()
        return [hit / row if row else None for hit, row in zip(right, rows, strict=True)]

    def largest(self, most: int) -> list[tuple[int, int, int]]:
        """Row, column and count of the largest confusions, those off the diagonal."""
        off = self.counts - torch.diag(self.counts.diag())
        counts, places = off.flatten().topk(min(most, off.numel()))
        pairs = zip(places.tolist(), counts.tolist(), strict=True)
        return [(*divmod(place, len(off)), count) for place, count in pairs if count]


@dataclass(frozen=True)
class Images:
    """Synthetic images, what both networks say of each, and what the run's memory keeps of it; None if it does not."""

    images: Tensor
    """[N, C, H, W], uint8."""
    classes: Tensor
    """[N, 2 T], the T classes that the teacher finds likeliest, then the student's."""
    teacher: Tensor
    """[N, 2 T], the teacher's probability of each of ``classes``."""
    student: Tensor
    """[N, 2 T], the student's."""
    targets: Tensor | None
    """[N], the target class; -1 where no class was the target."""
    ages: Tensor | None
    """[N], rounds since the image was made."""
    losses: Tensor | None
    """[N], the student's last loss on it; of an image that no step has read yet, the largest there was when it came."""
    history: Tensor | None = None
    """[N, R], the same after each of ``history_rounds``; not a number before the image was made."""
    history_rounds: Tensor | None = None
    """[R], rising."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def seen_by_teacher(self) -> Tensor:
        """The class [N] that the teacher finds likeliest."""
        return self.classes[:, 0]

    @property
    def seen_by_student(self) -> Tensor:
        """The class [N] that the student finds likeliest."""
        return self.classes[:, self.classes.shape[1] // 2]

    @property
    def agreement(self) -> Tensor:
        """The student's probability [N] of the class that the teacher sees."""
        return self.student[:, 0]

    @cached_property
    def places(self) -> dict[bytes, int]:
        """Which image has these bytes."""
        return {image.numpy().tobytes(): place for place, image in enumerate(self.images)}


@dataclass(frozen=True)
class Examination:
    """What the networks of a run said, class by class and image by image, after one of its rounds."""

    round: int
    rounds: int
    """That the run has in all."""
    student_sha256: str
    """Of the student's weights, as :func:`dfkd_lab.runs.examining.weights_sha256` has it."""
    teacher_sha256: str
    task: str
    class_names: tuple[str, ...]
    evaluation: Confusion | None
    """Labels by what the student says; None without an evaluation set."""
    synthetic: Confusion | None
    """What the teacher says by what the student says; None without synthetic images."""
    images: Images | None
    """None where every pixel has a class, too."""
    remarks: tuple[str, ...]
    """Why something is not there, a sentence each."""
    measured: Mapping[str, Any]
    """Device, versions and commit."""


def write(folder: Path, found: Examination) -> Path:
    """Put an examination into its run folder: all of it, or all of the one before.

    Raises:
        RunError: if something in it cannot be.
        OSError: if it cannot be written.
    """
    matrices = {name: getattr(found, name) for name in MATRICES}
    facts = {name: getattr(found, name) for name in SHAPE.needed if name not in matrices}
    facts |= {name: None if each is None else {"of": each.of, "n": each.n} for name, each in matrices.items()}
    tensors = {name: each.counts for name, each in matrices.items() if each is not None}
    if found.images is not None:
        tensors |= {name: value for name in PER_IMAGE if (value := getattr(found.images, name)) is not None}
    if odd := next(_misfits(facts, tensors), ""):  # nothing is written that cannot be read
        raise RunError(f"{folder} cannot be examined ({odd})")
    content = serialized({name: each.contiguous() for name, each in tensors.items()}, {FACTS: json.dumps(facts)})
    write_atomically(folder / FILE, content, shared=True)  # a person's command and the panel's may both be on
    return folder / FILE


def read(folder: Path) -> Examination | None:
    """The examination in a run folder; None if there is none.

    Raises:
        DamagedFile: if it is not what :func:`write` writes.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    if path.stat().st_size > MOST_BYTES:
        raise DamagedFile(f"{path} is damaged (more than {MOST_BYTES:,} bytes); {CURE}")
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(FACTS, "")
            names = {*file.keys()} & {*MATRICES, *PER_IMAGE}
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except Exception as error:
        raise DamagedFile(f"{path} is damaged ({reason(error)}); {CURE}") from None
    facts = parsed(text, SHAPE, path, CURE)
    if odd := next(_misfits(facts, tensors), ""):
        raise DamagedFile(f"{path} is damaged ({odd}); {CURE}")
    found: dict[str, Any] = {name: facts[name] for name in SHAPE.needed}
    found |= {name: tuple(facts[name]) for name in ("class_names", "remarks")}
    for name in MATRICES:
        found[name] = Confusion(tensors[name], facts[name]["of"], facts[name]["n"]) if facts[name] else None
    kept: dict[str, Any] = {name: tensors.get(name) for name in PER_IMAGE}
    return Examination(**found, images=Images(**kept) if "images" in tensors else None)


def _misfits(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """What does not fit together, one by one; each look relies on those before it."""
    classes = len(facts["class_names"])
    if not 0 < classes <= MOST_CLASSES:
        yield f"{classes} classes"
    for name in MATRICES:
        if (facts[name] is None) == (name in tensors):
            yield f"{name} is only half there"
        counts = tensors.get(name)
        if counts is None:
            continue
        if counts.dtype != torch.int64 or counts.shape != (classes, classes):
            yield f"{name} is no matrix of {classes} classes"
        elif counts.min() < 0 or counts.max() > 2**40:
            yield f"a count in {name} is out of range"
    if "images" in tensors:
        yield from _misfits_of_images(tensors, classes)


def _misfits_of_images(tensors: Mapping[str, Tensor], classes: int) -> Iterator[str]:
    n, top = len(tensors["images"]), min(TOP, classes)
    shapes = {"images": tensors["images"].shape, **dict.fromkeys(("classes", "teacher", "student"), (n, 2 * top))}
    if ("history" in tensors) != ("history_rounds" in tensors):
        yield "history is only half there"
    rounds = tensors.get("history_rounds", torch.zeros(0)).numel()
    shapes |= {"history": (n, rounds), "history_rounds": (rounds,)}
    if tensors["images"].ndim != 4 or not 0 < n <= MOST_IMAGES or 0 in tensors["images"].shape:
        yield "no such images"
    for name, dtype in PER_IMAGE.items():
        value = tensors.get(name)
        if value is None and name in KNOWN:
            continue
        if value is None or value.dtype != dtype or value.shape != shapes.get(name, (n,)):
            yield f"{name} are not those of {n} images"
    yield from _out_of_range(tensors, classes)


def _out_of_range(tensors: Mapping[str, Tensor], classes: int) -> Iterator[str]:
    ranges: dict[str, tuple[int, float]] = {"classes": (0, classes - 1), "targets": (-1, classes - 1)}
    ranges |= {"ages": (0, 2**40), "teacher": (0, 1), "student": (0, 1), "losses": (0, 1e30)}
    ranges |= {"history": (0, 1e30), "history_rounds": (1, 2**40)}
    if "history" in tensors:
        tensors = {**tensors, "history": tensors["history"].nan_to_num(0.0, math.inf)}
    if not (tensors.get("history_rounds", torch.zeros(0)).diff() > 0).all():
        yield "history_rounds do not rise"
    for name, (low, high) in ranges.items():
        # not a number is in no range either
        if (value := tensors.get(name)) is not None and not ((value >= low) & (value <= high)).all():
            yield f"one of {name} is out of range"
