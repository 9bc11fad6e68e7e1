"""What is measured: accuracy where there is data, agreement and health where there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import class_shares, to_float
from dfkd_lab.primitives.observer import Observation, Observer

KEPT_BYTES = 10**9


def kept_bytes(images: Tensor, device: torch.device) -> int:
    """What images of an evaluation set take on ``device``: all, or nothing if they stay in the host's memory."""
    return images.nbytes if device.type == "cpu" or images.nbytes <= KEPT_BYTES else 0


class Evaluation(Protocol):
    """``evaluate(student)`` gives the figure that tables show, called ``metric``, and leaves others in ``details``."""

    metric: str
    details: dict[str, object]
    images: Tensor

    def __call__(self, model: nn.Module) -> float:
        """Measure ``model``, which is in the mode that it was in afterwards."""
        ...

    def to(self, device: torch.device) -> None:
        """Evaluate on ``device``."""


class Accuracy:
    """``evaluate(student)``: top-1 accuracy in [0, 1] on images [N, C, H, W], uint8 or in [0, 1], and labels [N].

    ``batch`` 0 takes 1,024 images at a time on a GPU, and 64 on a CPU, whose caches hold no more of a network's maps.
    """

    metric = "accuracy"

    def __init__(self, images: Tensor, labels: Tensor, batch: int = 0):
        self.images, self.labels, self._batch, self.device = images, labels, batch, images.device
        self.details: dict[str, object] = {}

    @property
    def batch(self) -> int:
        """Images at a time."""
        return self._batch or (64 if self.device.type == "cpu" else 1024)

    def to(self, device: torch.device) -> None:
        """Evaluate on ``device``; images that take more than a gigabyte are copied there a batch at a time."""
        self.device = device
        if kept_bytes(self.images, device):
            self.images, self.labels = self.images.to(device), self.labels.to(device)

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> float:
        training = model.training
        model.eval()
        pairs = zip(self.images.split(self.batch), self.labels.split(self.batch), strict=True)
        parts = ((x.to(self.device), y.to(self.device)) for x, y in pairs)
        right = sum((model(to_float(x)).argmax(1) == y).sum() for x, y in parts)
        model.train(training)
        return float(right) / len(self.labels)


def expected(accuracies: Sequence[float]) -> dict[str, float]:
    """Expected accuracy over rounds (PRE-DFKD): mean mu, standard deviation sigma over all rounds, and the maximum.

    The maximum is an oracle: without data nobody can choose that round. Inferred: the paper's printed sigma squared
    is taken to be a standard deviation.
    """
    if not accuracies:
        return {}
    mean = sum(accuracies) / len(accuracies)
    spread = math.sqrt(sum((value - mean) ** 2 for value in accuracies) / len(accuracies))
    return {"last": accuracies[-1], "mu": mean, "sigma": spread, "oracle_best": max(accuracies)}


@torch.no_grad()
def health(observer: Observer, images: Tensor) -> tuple[dict[str, float], Seen]:
    """Signals that need no label, and what teacher and student see on the images.

    Args:
        observer: Runs both networks.
        images: [N, C, H, W] in [0, 1].

    Returns:
        The signals. agreement: share of images, or pixels, on which student and teacher predict the same. entropy:
        of the teacher's mean prediction, in nats, at most log K. confidence: mean largest teacher probability. bn_gap:
        summed distance from the teacher's batch-norm statistics. distance: mean pairwise RMS pixel distance.
    """
    observation = _observed(observer, images, "student", "statistics")
    assert observation.student is not None
    probabilities, predicted = observation.logits.softmax(1), observation.logits.argmax(1)
    others = observation.student.argmax(1)
    flat = images[:64].flatten(1)
    values = {
        "agreement": (others == predicted).float().mean(),
        "entropy": torch.special.entr(class_shares(probabilities)).sum(),
        "confidence": probabilities.amax(1).mean(),
        "distance": torch.pdist(flat).mean() / math.sqrt(flat.shape[1]) if len(flat) > 1 else flat.new_zeros(()),
    }
    gaps = [
        (layer.mean - layer.running_mean).norm() + (layer.variance - layer.running_variance).norm()
        for layer in observation.statistics
    ]
    if gaps:
        values["bn_gap"] = torch.stack(gaps).sum()
    return {name: float(value) for name, value in values.items()}, _seen(observation)


def look(observer: Observer, images: Tensor, dense: bool = False) -> Seen:
    """What the teacher sees on ``images`` [N, C, H, W] in [0, 1], and the student too if they label every pixel."""
    return _seen(_observed(observer, images, *(("student",) if dense else ())))


@dataclass
class Seen:
    """What networks see on images."""

    predicted: Tensor
    """The teacher's class, [N] or [N, H, W]."""
    confidence: Tensor
    """Its probability, likewise."""
    student: Tensor | None = None
    """The student's class of each pixel, [N, H, W], of dense predictions."""
    shares: list[float] = field(default_factory=list)
    """The share of pixels in each class, as the teacher predicts it."""
    student_shares: list[float] = field(default_factory=list)
    """As the student does."""


def _observed(observer: Observer, images: Tensor, *needs: str) -> Observation:
    """Both networks in eval mode, and the student back in its own."""
    training = observer.student.training
    observer.student.eval()
    observation = observer(images, needs=frozenset(needs))
    observer.student.train(training)
    return observation


def _seen(observation: Observation) -> Seen:
    confidence, predicted = observation.logits.softmax(1).max(1)
    if predicted.ndim == 1:
        return Seen(predicted, confidence)
    assert observation.student is not None
    others, k = observation.student.argmax(1), observation.logits.shape[1]
    return Seen(predicted, confidence, others, _pixel_shares(predicted, k), _pixel_shares(others, k))


def _pixel_shares(predicted: Tensor, classes: int) -> list[float]:
    counts = torch.bincount(predicted.flatten(), minlength=classes).double()
    return [round(each, 5) for each in (counts / counts.sum()).tolist()]


LARGEST_SHARE, LARGEST_OTHER, SMALLEST_SHARE = 0.85, 0.30, 0.005
"""Shares of pixels beyond which a class is too large, one that is not the largest is, or one is all but absent."""


def alarms(
    health: Mapping[str, float],
    losses: Mapping[str, float],
    classes: int,
    seen: Seen | None = None,
    trained: bool = True,
) -> list[str]:
    """What looks wrong, in words: collapse of the images, or a loss that is stuck at exactly 0.

    Of dense predictions also what networks see on the images; the student's once it is being ``trained``.
    """
    alarms = [f"the loss '{name}' is exactly 0" for name, value in losses.items() if value == 0]
    if seen is not None and seen.shares:
        alarms += _collapse("teacher", seen.shares) + (_collapse("student", seen.student_shares) if trained else [])
    elif health["entropy"] < 0.5 * math.log(classes):
        alarms.append(f"the images cover few classes (entropy {health['entropy']:.2f} of {math.log(classes):.2f} nats)")
    if health["distance"] < 0.02:
        alarms.append(f"the images are all alike (mean distance {health['distance']:.3f})")
    return alarms


def _collapse(who: str, shares: Sequence[float]) -> list[str]:
    """Whether pixels fall into few classes: the largest may be a background, the others are not."""
    order = sorted(range(len(shares)), key=lambda each: -shares[each])
    found, absent = [], sum(share < SMALLEST_SHARE for share in shares)
    if shares[order[0]] > LARGEST_SHARE:
        found.append(f"the {who} sees one class in most pixels (class {order[0]} in {shares[order[0]]:.0%})")
    if shares[order[1]] > max(LARGEST_OTHER, 2 / len(shares)):
        found.append(f"the {who} sees a second class in many pixels (class {order[1]} in {shares[order[1]]:.0%})")
    if absent > len(shares) // 4:
        found.append(f"the {who} sees some classes nowhere ({absent} of {len(shares)} below {SMALLEST_SHARE:.1%})")
    return found
