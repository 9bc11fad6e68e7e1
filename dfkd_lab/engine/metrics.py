"""What is measured: accuracy where there is data, agreement and health where there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import to_float
from dfkd_lab.primitives.observer import Observer

KEPT_BYTES = 10**9


def kept_bytes(images: Tensor, device: torch.device) -> int:
    """What images of an evaluation set take on ``device``: all, or nothing if they stay in the host's memory."""
    return images.nbytes if device.type == "cpu" or images.nbytes <= KEPT_BYTES else 0


class Accuracy:
    """``evaluate(student)``: top-1 accuracy in [0, 1] on images [N, C, H, W], uint8 or in [0, 1], and labels [N].

    ``batch`` 0 takes 1,024 images at a time on a GPU, and 64 on a CPU, whose caches hold no more of a network's maps.
    """

    def __init__(self, images: Tensor, labels: Tensor, batch: int = 0):
        self.images, self.labels, self._batch, self.device = images, labels, batch, images.device

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
def health(observer: Observer, images: Tensor) -> tuple[dict[str, float], Tensor, Tensor]:
    """Signals that need no label.

    Args:
        observer: Runs both networks.
        images: [N, C, H, W] in [0, 1].

    Returns:
        The signals, the teacher's class [N] of each image, and its probability [N]. agreement: share of images on which
        student and teacher predict the same class. entropy: of the teacher's mean prediction, in nats, at most log K.
        confidence: mean largest teacher probability. bn_gap: summed distance from the teacher's batch-norm statistics.
        distance: mean pairwise RMS pixel distance.
    """
    training = observer.student.training
    observer.student.eval()
    observation = observer(images, needs=frozenset({"student", "statistics"}))
    observer.student.train(training)
    assert observation.student is not None
    probabilities, predicted = observation.logits.softmax(1), observation.logits.argmax(1)
    confidence = probabilities.max(1).values
    flat = images[:64].flatten(1)
    values = {
        "agreement": (observation.student.argmax(1) == predicted).float().mean(),
        "entropy": torch.special.entr(probabilities.mean(0)).sum(),
        "confidence": confidence.mean(),
        "distance": torch.pdist(flat).mean() / math.sqrt(flat.shape[1]) if len(flat) > 1 else flat.new_zeros(()),
    }
    gaps = [
        (layer.mean - layer.running_mean).norm() + (layer.variance - layer.running_variance).norm()
        for layer in observation.statistics
    ]
    if gaps:
        values["bn_gap"] = torch.stack(gaps).sum()
    return {name: float(value) for name, value in values.items()}, predicted, confidence


def alarms(health: Mapping[str, float], losses: Mapping[str, float], classes: int) -> list[str]:
    """What looks wrong, in words: collapse of the images, or a loss that is stuck at exactly 0."""
    alarms = [f"the loss '{name}' is exactly 0" for name, value in losses.items() if value == 0]
    if health["entropy"] < 0.5 * math.log(classes):
        alarms.append(f"the images cover few classes (entropy {health['entropy']:.2f} of {math.log(classes):.2f} nats)")
    if health["distance"] < 0.02:
        alarms.append(f"the images are all alike (mean distance {health['distance']:.3f})")
    return alarms
