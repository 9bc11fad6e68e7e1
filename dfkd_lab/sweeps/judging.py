"""How good the trials of a search are, without a label: by images that none of them was trained on itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from dfkd_lab import teachers
from dfkd_lab.errors import SpecError
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import samples
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.teachers import Card

MOST_IMAGES = 256
"""Of a trial that the students of others are asked about."""
HOPELESS_SHARE, FEWEST_ROUNDS = 0.25, 5


def check(card: Card) -> None:
    """Refuse a teacher that the samples of its trials have no images for.

    Raises:
        SpecError: if its images have more, or other, channels than a picture.
    """
    allowed = (1, 3) if card.task == "segmentation" else range(1, samples.MOST_CHANNELS + 1)
    if (channels := card.shape[0]) not in allowed:
        raise SpecError(
            f"by = 'agreement' is measured on the samples, which hold no images of {channels} channels; "
            "allowed: by = 'accuracy'"
        )


def agreements(folders: Sequence[RunFolder]) -> dict[str, float]:
    """For each finished trial the share of images, or pixels, on which its student and the teacher predict the same.

    The images are those that the other finished trials synthesized last, as their samples hold them, each trial with
    the same weight: held out, and the same for all but for a trial's own, so that a trial does not grade itself with
    images that are easy. A trial alone has its own.

    Args:
        folders: Finished, with the same teacher.

    Raises:
        SpecError: if the teacher or a student cannot be read.
    """
    if not folders:
        return {}
    spec = folders[0].spec()
    teacher = teachers.load(spec.teacher, spec.normalization, spec.data)
    channels = teacher.card.shape[0]  # a gray image is shown in three beside maps of classes
    images = {each.name: held_out(each)[:, :channels] for each in folders}
    answers = {name: _classes(teacher.model, each) for name, each in images.items() if len(each)}
    found = {}
    for folder in folders:
        student = teachers.load(folder.path / "student.safetensors").model
        others = [name for name in answers if name != folder.name] or [*answers]
        shares = [float((_classes(student, images[name]) == answers[name]).float().mean()) for name in others]
        if shares:
            found[folder.name] = sum(shares) / len(shares)
    return found


def held_out(folder: RunFolder) -> Tensor:
    """Up to 256 images of a trial's last rounds, [N, C, H, W], uint8."""
    found: list[Tensor] = []
    for _, path in sorted(folder.samples().items(), reverse=True):
        if len(images := samples.read(path)):
            found.append(images)
        if sum(map(len, found)) >= MOST_IMAGES:
            break
    return torch.cat(found)[:MOST_IMAGES] if found else torch.zeros(0, 1, 1, 1, dtype=torch.uint8)


def is_hopeless(folder: RunFolder) -> bool:
    """Whether every one of the last rounds, a quarter of the run and five at least, had an alarm."""
    reports = folder.reports()
    if not reports:
        return False
    span = max(FEWEST_ROUNDS, round(HOPELESS_SHARE * reports[-1].rounds))
    return len(reports) >= span and all(each.alarms for each in reports[-span:])


def last_accuracies(folders: Iterable[RunFolder]) -> dict[str, float]:
    """By name, of those that were measured: an oracle, which needs labels."""
    results: Mapping[str, float | None] = {each.name: each.result().get("last") for each in folders}
    return {name: value for name, value in results.items() if value is not None}


@torch.no_grad()
def _classes(model: nn.Module, images: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(to_float(part)).argmax(1) for part in images.split(64)])
