"""Intersection over union: how a network is measured that labels every pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.batch import to_float

BATCH_PIXELS = 2**20
"""Pixels at a time, so that the logits of large images fit."""


class Segmentation:
    """``evaluate(student)``: the mean intersection over union (mIoU) on images [N, C, H, W] and labels [N, H, W].

    One confusion matrix over all images, as the field's code has it (DFAD): IoU of a class is its diagonal over row
    plus column minus diagonal, and a class that neither labels nor predictions have counts in no mean. After a call
    ``details`` has also the IoU of each class (None for one that is absent), ``pixel_accuracy``, of which a network
    that calls everything background has a lot, and ``without_first``, the mean without class 0, often the background.

    Args:
        images: uint8, or in [0, 1].
        labels: 0 to K - 1, or ``ignore``.
        classes: K.
        ignore: A label that counts nowhere; None for none.
    """

    metric = "mIoU"

    def __init__(self, images: Tensor, labels: Tensor, classes: int, ignore: int | None = None):
        self.images, self.labels, self.classes, self.ignore = images, labels, classes, ignore
        self.device = images.device
        self.details: dict[str, object] = {}

    def to(self, device: torch.device) -> None:
        """Evaluate on ``device``; images are copied there a batch at a time."""
        self.device = device

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> float:
        training = model.training
        model.eval()
        matrix = torch.zeros(self.classes, self.classes, dtype=torch.long, device=self.device)
        n = max(1, BATCH_PIXELS // self.images[0, 0].numel())
        for images, labels in zip(self.images.split(n), self.labels.split(n), strict=True):
            predicted = model(to_float(images.to(self.device))).argmax(1)
            matrix += confusion(predicted, labels.to(self.device).long(), self.classes, self.ignore)
        model.train(training)
        self.details = scores(matrix)
        return float(self.details["mIoU"])  # type: ignore[arg-type]


def confusion(predicted: Tensor, labels: Tensor, classes: int, ignore: int | None = None) -> Tensor:
    """How many pixels of each class (rows) were predicted as which (columns), [K, K].

    Args:
        predicted: 0 to K - 1, of any shape.
        labels: Of the same shape; ``ignore`` is not counted.
        classes: K.
        ignore: A label.
    """
    counted = labels != (-1 if ignore is None else ignore)
    pairs = classes * labels[counted] + predicted[counted]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def scores(matrix: Tensor) -> dict[str, object]:
    """What a confusion matrix [K, K] says: mIoU, IoU of each class, without_first, pixel_accuracy."""
    right = matrix.diag().double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diag()
    iou = right / union  # not a number where a class is absent
    known = [None if value != value else value for value in iou.tolist()]
    return {
        "mIoU": float(iou.nanmean()),
        "iou": known,
        "without_first": float(iou[1:].nanmean()),
        "pixel_accuracy": float(right.sum() / matrix.sum()),
    }
