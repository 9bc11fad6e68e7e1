"""Losses, one idea a file: an observation -> a loss per sample [N], or a scalar where only the batch has one.

Symbols in brackets are the papers'. What only one paper uses stands in that paper's file in ``methods/``.
"""

from dfkd_lab.primitives.losses.base import Loss, LossFunction, needs, needs_of
from dfkd_lab.primitives.losses.bn_gap import BatchNormGap
from dfkd_lab.primitives.losses.discrepancy import adversarial, bounded, js, kl, l1
from dfkd_lab.primitives.losses.image_prior import l2, total_variation
from dfkd_lab.primitives.losses.prediction import activation, balance, confidence, label
from dfkd_lab.primitives.losses.student import attention, student_label

__all__ = [
    "BatchNormGap",
    "Loss",
    "LossFunction",
    "activation",
    "adversarial",
    "attention",
    "balance",
    "bounded",
    "confidence",
    "js",
    "kl",
    "l1",
    "l2",
    "label",
    "needs",
    "needs_of",
    "student_label",
    "total_variation",
]
