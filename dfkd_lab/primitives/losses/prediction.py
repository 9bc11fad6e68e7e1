"""Losses of the teacher's prediction on synthetic images: sure, of the target class, evenly spread, active.

Where the teacher labels every pixel, a loss of an image is the mean over its pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab.primitives.batch import class_shares
from dfkd_lab.primitives.losses.base import LossFunction, needs, per_sample
from dfkd_lab.primitives.observer import Observation


@per_sample
def confidence(observation: Observation) -> Tensor:
    """Cross entropy to the teacher's own prediction (DAFL, L_oh): 0 for a one-hot prediction.

    Returns:
        The loss [N], in nats.
    """
    # the class is a target, not a path for the gradient
    return F.cross_entropy(observation.logits, observation.logits.detach().argmax(1), reduction="none")


@needs("labels")
def label(observation: Observation) -> Tensor:
    """Cross entropy to the target class (DeepInversion, CMI).

    Returns:
        The loss [N], in nats.
    """
    assert observation.labels is not None
    return F.cross_entropy(observation.logits, observation.labels, reduction="none")


def balance(base: float = math.e) -> LossFunction:
    """Negative entropy of the mean prediction (DAFL, L_ie): minimal, -log K, when all classes are covered evenly.

    Args:
        base: Of the logarithm. DAFL's code takes 10, the CMI toolbox e: 20 in nats weighs as much as 46 in base 10.

    Returns:
        A loss that gives a scalar.
    """

    def negative_entropy(observation: Observation) -> Tensor:
        # of the mean prediction, not the mean of entropies: each image may be sure, the batch shall cover all classes
        mean = class_shares(observation.logits.softmax(1))
        return torch.special.entr(mean).sum().neg() / math.log(base)

    return negative_entropy


@needs("features")
def activation(observation: Observation) -> Tensor:
    """Minus the mean absolute penultimate feature of the teacher (DAFL, L_a).

    Returns:
        The loss [N].
    """
    assert observation.features is not None
    return -observation.features.abs().mean(1)
