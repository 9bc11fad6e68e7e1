"""Teachers that label every pixel: how right they are, and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab import data
from dfkd_lab.engine.metrics import Accuracy, Evaluation
from dfkd_lab.engine.segmentation import Segmentation
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import trial
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.primitives.losses.student import IGNORED
from dfkd_lab.teachers.checkpoints import Card

THIN = 0.01
"""Share of the pixels below which a class is so thin that classes are weighed."""


@dataclass(frozen=True)
class DenseMeasurement:
    """How right and how sure a network is that labels every pixel; fractions in [0, 1]."""

    accuracy: float
    """The mean intersection over union (mIoU)."""
    without_first: float
    """The mean without class 0, the background where there is one."""
    pixel_accuracy: float
    confidence: float
    """Mean largest probability of a pixel."""
    classes: int
    n: int
    """Images it was measured on."""
    iou: tuple[float | None, ...]
    """Intersection over union of each class; None for one that is absent."""

    def row(self) -> dict[str, Any]:
        """What was measured, and the warning, as a table row."""
        rates = {"accuracy": self.accuracy, "without_first": self.without_first, "pixel_accuracy": self.pixel_accuracy}
        rounded = {name: round(value, 6) for name, value in {**rates, "confidence": self.confidence}.items()}
        iou = [None if value is None else round(value, 6) for value in self.iou]
        return {"metric": Segmentation.metric, **rounded, "iou": iou, "warning": self.warning()}

    def words(self) -> str:
        """In a few words."""
        return f"mIoU {self.accuracy:.3f} (pixel accuracy {self.pixel_accuracy:.3f})"

    def warning(self) -> str:
        """A sentence about a network that has learned little; empty for others."""
        if self.accuracy >= 2 / self.classes:
            return ""
        return f"mIoU {self.accuracy:.3f} is that of a network that hardly tells classes apart; is it the right file?"


def evaluation_of(split: data.Split, classes: int) -> Evaluation:
    """What measures a network of ``classes`` classes on ``split``: accuracy, or mIoU where every pixel has a label."""
    if split.task == "segmentation":
        return Segmentation(split.images, split.labels, classes, split.ignore)
    return Accuracy(split.images, split.labels)


def check(card: Card, split: data.Split) -> None:
    """Refuse evaluation data that the teacher's maps cannot be held against.

    Raises:
        SpecError: for labels of whole images, other channels, or a class that the teacher does not know.
    """
    if split.task != "segmentation":
        raise SpecError("the teacher labels every pixel, and the evaluation data have a class an image")
    channels = split.images.shape[1]
    if channels != card.shape[0]:
        raise SpecError(f"the teacher takes images of {card.shape[0]} channels, the evaluation data have {channels}")
    counted = split.counted
    if not counted.numel() or counted.min() == counted.max():
        only = f"class {int(counted.max())}" if counted.numel() else "no class"
        raise SpecError(f"the masks of the evaluation data hold {only} and nothing but ignored pixels; mIoU needs two")
    if (largest := int(counted.max())) >= card.classes:
        raise SpecError(
            f"the teacher knows {card.classes} classes, and a mask of the evaluation data has class {largest}"
        )


@torch.no_grad()
def check_size(who: str, model: nn.Module, images: Tensor, classes: int) -> None:
    """Refuse a network that has no logits [N, K, H, W] for the evaluation images, whose size no run has tried.

    Args:
        who: What it is called.
        model: Takes images in [0, 1].
        images: [N, C, H, W], of which two are tried.
        classes: K.

    Raises:
        SpecError: saying what it gives.
    """
    training, some = model.training, to_float(images[:2].to(next(model.parameters()).device))
    trial.logits(who, model.eval(), some, classes, task="segmentation")
    model.train(training)


@torch.no_grad()
def measure(model: nn.Module, split: data.Split, classes: int, device: torch.device) -> DenseMeasurement:
    """Measure ``model``, which is on ``device`` and in eval mode, on images with a label for every pixel."""
    evaluate = evaluation_of(split, classes)
    evaluate.to(device)
    evaluate(model)
    some = to_float(split.images[:: max(1, len(split.images) // 64)].to(device))
    found: Any = evaluate.details
    return DenseMeasurement(
        accuracy=found["mIoU"],
        without_first=found["without_first"],
        pixel_accuracy=found["pixel_accuracy"],
        confidence=float(model(some).softmax(1).amax(1).mean()),
        classes=classes,
        n=len(split.images),
        iou=tuple(found["iou"]),
    )


def class_weights(split: data.Split) -> Tensor | None:
    """The weight [K] of each class in a teacher's loss; None if no class is so thin that it would not be learned.

    1 / ln(1.02 + share of the pixels), of mean 1 (ENet, arXiv:1606.02147).
    """
    counts = torch.bincount(split.counted.flatten().long(), minlength=split.classes).double()
    shares = counts / counts.sum()
    if shares.min() >= THIN:
        return None
    weights = 1 / (1.02 + shares).log()
    return (weights / weights.mean()).float()


def loss(logits: Tensor, labels: Tensor, weights: Tensor | None, ignore: int | None) -> Tensor:
    """Mean cross entropy of the pixels of logits [N, K, H, W] and labels [N, H, W]; 0 where none of them counts."""
    if ignore is None:
        return F.cross_entropy(logits, labels.long(), weights)
    # not 0 / 0, and without a look at the device: a batch of which nothing counts has class 0, and costs nothing
    counts = (labels != ignore).any()
    labels = torch.where(counts, labels, 0)
    return F.cross_entropy(logits, labels.long(), weights, ignore_index=ignore) * counts


def crop(images: Tensor, labels: Tensor, size: tuple[int, int], flip: bool) -> tuple[Tensor, Tensor]:
    """The same random piece of each image and its labels, mirrored half of the time if ``flip``.

    Args:
        images: [N, C, H, W].
        labels: [N, H, W].
        size: Height and width of the piece, at most the images'.
        flip: Whether a mirror keeps the meaning.
    """
    n, _, height, width = images.shape
    device = images.device
    top = torch.randint(0, height - size[0] + 1, (n, 1, 1), device=device)
    left = torch.randint(0, width - size[1] + 1, (n, 1, 1), device=device)
    rows = top + torch.arange(size[0], device=device).view(1, -1, 1)
    columns = torch.arange(size[1], device=device).view(1, 1, -1).expand(n, 1, -1)
    if flip:
        mirrored = torch.rand(n, 1, 1, device=device) < 0.5
        columns = torch.where(mirrored, size[1] - 1 - columns, columns)
    which, columns = torch.arange(n, device=device).view(-1, 1, 1), left + columns
    return images.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2), labels[which, rows, columns]


def pieces(split: data.Split, shape: tuple[int, int, int]) -> data.Split:
    """Real images at the size that is synthesized, for a reference: one piece of each, drawn from seed 0.

    A pixel that counts nowhere is labelled ``IGNORED``, whatever the data set calls it.
    """
    if split.ignore not in (None, IGNORED):
        labels = torch.where(split.labels == split.ignore, IGNORED, split.labels)
        split = replace(split, labels=labels, ignore=IGNORED)
    if tuple(split.images.shape[1:]) == tuple(shape):
        return split
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        images, labels = crop(split.images, split.labels, (shape[1], shape[2]), flip=False)
    return replace(split, images=images, labels=labels)


def sizes(card: Card, name: str) -> list[tuple[int, int, int]]:
    """The shapes [C, H, W] of the images that the networks of a run are given, the teacher's first.

    The evaluation set ``name`` may be measured at another size than is synthesized.
    """
    row, shape = data.find(name), (card.shape[0], card.shape[1], card.shape[2])
    return [shape, row.shape] if row and card.task == "segmentation" and row.shape != shape else [shape]
