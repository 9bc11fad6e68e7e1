"""A run examined: which class is taken for which, and what both networks say of each synthetic image.

It reads the run folder and writes one file into it; a run that is on is not disturbed, and no random number of it is
drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab import data, teachers
from dfkd_lab.engine.segmentation import BATCH_PIXELS, confusion
from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import examination, loss_history, networks, own_code, standing, synthetic
from dfkd_lab.runs.examination import MOST_CLASSES, MOST_IMAGE_BYTES, MOST_IMAGES, TOP, Confusion, Examination, Images
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.recorder import CHECKPOINT, saved_state
from dfkd_lab.runs.synthetic import PASS, Synthetic
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.device import pick_device, provenance
from dfkd_lab.system.faults import reason
from dfkd_lab.teachers import Card, Teacher, class_order

Say = Callable[[str], object]
OTHER_PRECISION = "both networks in fp32 here, the run in bf16, so that a probability may differ in its second decimal"


@torch.no_grad()
def examine(folder: RunFolder, trust_code: str = "", say: Say = lambda sentence: None) -> Examination:
    """Examine a run as it was saved last, and keep what is found in its folder.

    On the CPU while the run is on, and else where "auto" has a device.

    Args:
        folder: Of the run.
        trust_code: Which text of the run's own Python files may be executed, as ``own_code.TEXTS`` has it.
        say: Hears what it is about to do, a sentence each.

    Raises:
        RunError: if nothing was saved yet, the folder is damaged, was moved meanwhile or cannot be written, teacher or
            evaluation set are others by now, there is nothing to examine on, or the run names a Python file that is not
            trusted.
        SpecError: if one of the networks is not to be had here, or has too many classes.
    """
    spec = folder.spec()
    state = saved_state(folder)
    round = _round_of(folder, spec, state)
    own_code.admitted(spec, trust_code, "examine")
    teacher = _teacher_of(folder, spec)
    student = networks.student_of(folder, spec, teacher.card, state)
    split, chosen, remarks = _images_of(folder, spec, teacher.card, state, trust_code)
    pair = Pair(teacher, student, pick_device("cpu" if folder.status()["state"] in standing.AT_WORK else "auto"))
    found = Examination(
        round=round,
        rounds=spec.rounds,
        student_sha256=weights_sha256(student),
        teacher_sha256=teacher.sha256,
        task=teacher.card.task,
        class_names=class_order.shown_names(teacher.card, split, spec.data),
        evaluation=None if split is None else pair.on_labels(spec.data, split, say),
        **pair.on_synthetic(chosen, say),
        remarks=(*remarks, *([OTHER_PRECISION] if spec.precision == "bf16" else [])),
        measured=provenance(pair.device),
    )
    _keep(folder, found)
    return found


def _keep(folder: RunFolder, found: Examination) -> None:
    try:
        examination.write(folder.path, found)
    except OSError as error:
        reason = f"{folder.path / examination.FILE} cannot be written ({error.strerror})"
        if not folder.exists():
            reason = f"{folder.path} was moved, renamed or removed meanwhile; examine it where it is now"
        raise RunError(reason) from None


def weights_sha256(student: nn.Module) -> str:
    """The SHA-256 of a network's tensors: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(student.state_dict().items()):
        digest.update(f"{name} {value.dtype} {[*value.shape]} ".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Pair:
    """Teacher and student of a run on ``device``, in eval mode."""

    def __init__(self, teacher: Teacher, student: nn.Module, device: torch.device):
        self.card, self.device = teacher.card, device
        self.teacher, self.student = teacher.model.to(device), student.to(device).eval()

    @property
    def is_dense(self) -> bool:
        """Whether every pixel has a class."""
        return self.card.task == "segmentation"

    def on_labels(self, name: str, split: data.Split, say: Say) -> Confusion:
        """Labels by what the student says."""
        n, counts = len(split.images), self._no_counts()
        say(f"Measuring the student on {n:,} images of {name}.")
        size = self._pass(split.images)
        for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
            predicted = self.student(self._input(images)).argmax(1).cpu()
            counts += confusion(predicted, labels.long(), self.card.classes, split.ignore)
        return Confusion(counts, f"the {n:,} images of the evaluation set {name}", n)

    def on_synthetic(self, chosen: Synthetic | None, say: Say) -> dict[str, Any]:
        """``synthetic`` and ``images`` of an :class:`Examination`."""
        if chosen is None:
            return {"synthetic": None, "images": None}
        n, counts, said = len(chosen.images), self._no_counts(), []
        say(f"Comparing both networks on {chosen.origin}.")
        for images in chosen.images.split(self._pass(chosen.images)):
            ours, others = (net(self._input(images)).cpu() for net in (self.teacher, self.student))
            if self.is_dense:
                counts += confusion(others.argmax(1), ours.argmax(1), self.card.classes)
            else:
                said.append(likeliest(ours.softmax(1), others.softmax(1)))
                classes = said[-1][0]
                counts += confusion(classes[:, classes.shape[1] // 2], classes[:, 0], self.card.classes)
        images = None if self.is_dense else _with_what_is_kept(chosen, said)
        return {"synthetic": Confusion(counts, chosen.origin, n), "images": images}

    def _input(self, images: Tensor) -> Tensor:
        return to_float(images.to(self.device))

    def _pass(self, images: Tensor) -> int:
        """Images at a time."""
        return max(1, min(PASS, BATCH_PIXELS // images[0, 0].numel()))

    def _no_counts(self) -> Tensor:
        return torch.zeros(self.card.classes, self.card.classes, dtype=torch.long)


def likeliest(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The ``TOP`` likeliest classes of each, those of the teacher first, and what either network gives to each.

    Args:
        teacher: Its probabilities, [N, K].
        student: Its probabilities, likewise.

    Returns:
        [N, 2 T] each: classes, the teacher's probabilities of them, and the student's.
    """
    top = min(TOP, teacher.shape[1])
    classes = torch.cat([each.topk(top).indices for each in (teacher, student)], 1)
    return classes, teacher.gather(1, classes), student.gather(1, classes)


def _with_what_is_kept(chosen: Synthetic, said: list[tuple[Tensor, Tensor, Tensor]]) -> Images:
    classes, teacher, student = (torch.cat(each) for each in zip(*said, strict=True))
    targets, ages = (None if each is None else each.long() for each in (chosen.targets, chosen.ages))
    losses = None if chosen.losses is None else chosen.losses.float()
    told = teacher.clamp(0, 1), student.clamp(0, 1)
    return Images(chosen.images, classes, *told, targets, ages, losses, chosen.history, chosen.history_rounds)


def _teacher_of(folder: RunFolder, spec: RunSpec) -> Teacher:
    """The teacher, if it has few enough classes for a matrix of them."""
    teacher = networks.teacher_of(folder, spec)
    if teacher.card.classes > MOST_CLASSES:
        raise SpecError(f"teacher = '{spec.teacher}' has {teacher.card.classes:,} classes; allowed: {MOST_CLASSES:,}")
    return teacher


def _round_of(folder: RunFolder, spec: RunSpec, state: dict[str, Any] | None) -> int:
    """The round after which the student was saved.

    Raises:
        RunError: if none was.
    """
    if state is not None:
        return int(state["round"])
    status = folder.status()
    if status["state"] == "finished" and (folder.path / networks.STUDENT).is_file():
        return spec.rounds
    raise RunError(
        f"{folder.path} has no student to examine: it is {status['state']}, and nothing is saved in {CHECKPOINT} yet"
    )


def _images_of(
    folder: RunFolder, spec: RunSpec, card: Card, state: dict[str, Any] | None, trust_code: str
) -> tuple[data.Split | None, Synthetic | None, tuple[str, ...]]:
    """The evaluation set, the synthetic images, and why one of them is not there.

    Raises:
        RunError: if neither is.
    """
    remarks: list[str] = []
    split = _evaluation_images(folder, spec, card, remarks)
    chosen = _synthetic_images(folder, spec, card, state, trust_code, remarks)
    if split is None and chosen is None:
        raise RunError(f"there is nothing to examine {folder.path} on: {'; '.join(remarks)}")
    return split, chosen, tuple(remarks)


def _evaluation_images(folder: RunFolder, spec: RunSpec, card: Card, remarks: list[str]) -> data.Split | None:
    """The evaluation set of the run; None where there is none, with the reason among ``remarks``.

    Raises:
        RunError: if it has other images by now.
    """
    try:
        split = teachers.evaluation_images(card, spec.data)
        if split is not None:
            teachers.check(card, split)
    except SpecError as error:
        remarks.append(f"its evaluation set cannot be read: {error}")
        return None
    if split is None:
        remarks.append("it has no evaluation set")
        return None
    known = (folder.manifest().get("evaluation") or {}).get("images_sha256")
    if known and known != (here := split.hashes()["images_sha256"]):
        other = f"its images have sha256 {here[:16]}, and {folder.path} was measured on {known[:16]}"
        raise RunError(f"another evaluation set: data = '{spec.data}': {other}; put those back")
    return split


def _synthetic_images(
    folder: RunFolder, spec: RunSpec, card: Card, state: dict[str, Any] | None, trust_code: str, remarks: list[str]
) -> Synthetic | None:
    """Up to ``MOST_IMAGES`` of the run's synthetic images; None if it has none, with the reason among ``remarks``."""
    try:
        found = synthetic.of_run(spec, state, trust_code, "examine")
    except DamagedFile:
        raise
    except RunError as error:
        remarks.append(f"there are no synthetic images: {error}")
        return None
    except Exception as error:  # a state is what whoever wrote it has put there
        cure = "put it back from a copy, or remove it"
        raise DamagedFile(f"{folder.path / CHECKPOINT} cannot be used ({reason(error)}); {cure}") from None
    if (shape := tuple(found.images.shape[1:])) != tuple(card.shape):
        other = f"images {list(shape)}, and the teacher takes {list(card.shape)}"
        raise DamagedFile(f"{folder.path / CHECKPOINT} cannot be used ({other}); put it back from a copy, or remove it")
    if state is not None and found.ages is not None and found.losses is not None:
        rounds, losses = loss_history.read(folder, state["round"] - found.ages, state["round"]) or (None, None)
        found = replace(found, history=losses, history_rounds=rounds)
    n = min(MOST_IMAGES, max(1, MOST_IMAGE_BYTES // found.images[0].numel()))
    return found if len(found.images) <= n else replace(found.spread(n), origin=f"{n:,} of {found.origin}")
