"""Losses of the student alone, beside its discrepancy from the teacher: the label, and where both networks look."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab.primitives.losses.base import LossFunction, needs, per_sample
from dfkd_lab.primitives.observer import Observation, same_size

IGNORED = 255
"""The label of a pixel that counts nowhere, as the field's masks have it."""


@per_sample
@needs("student", "labels")
def student_label(observation: Observation) -> Tensor:
    """Cross entropy of the student to the target class (CGDD), or to that of each pixel.

    Returns:
        The loss [N], in nats.
    """
    assert observation.student is not None
    assert observation.labels is not None
    ignored = IGNORED if observation.labels.ndim > 1 else -100  # torch's word for none
    return F.cross_entropy(observation.student, observation.labels.long(), reduction="none", ignore_index=ignored)


def attention(stages: int) -> LossFunction:
    """Attention transfer (Zagoruyko and Komodakis, arXiv:1612.03928, p = 2), summed over stages.

    Of each feature map A the square's channel mean, as a vector of norm 1; of teacher's and student's the mean squared
    difference. Where the sizes differ the larger map is pooled.

    Args:
        stages: How many stages teacher and student have.

    Returns:
        A loss that gives [N].
    """

    @needs("maps")
    def distance(observation: Observation) -> Tensor:
        assert len(observation.maps) == len(observation.student_maps) == stages
        pairs = zip(observation.maps, observation.student_maps, strict=True)
        return torch.stack([_map_distance(*pair) for pair in pairs]).sum(0)

    return distance


def _map_distance(teacher: Tensor, student: Tensor) -> Tensor:
    # of length 1: where a network looks counts, not how strongly it responds, which differs between networks
    one, other = (F.normalize(each.square().mean(1).flatten(1)) for each in same_size(teacher, student))
    return (one - other).square().mean(1)
