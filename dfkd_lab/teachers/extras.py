"""Tensors that a training script keeps among the weights and that belong to no layer: of losses, metrics, averages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

TRAINING = re.compile(r"(\w+_)?(criterions?|loss(es)?|metrics?|acc(uracy)?)\d?(_\w+)?")
"""What a training script calls a loss or a metric that it keeps beside the network."""
STATES = frozenset(
    ("tp", "fp", "tn", "fn", "total", "correct", "confmat", "mean_value", "sum_value", "min_value", "max_value")
)
"""What a metric of torchmetrics calls what it counts."""
COUNTERS = frozenset(
    ("n_averaged", "num_updates", "updates", "decay", "step", "global_step", "epoch", "iteration", "initted")
)
"""What averages of weights, and scripts, count in a tensor of one number."""


def find_extras(weights: Mapping[str, Tensor]) -> list[str]:
    """The names among ``weights`` that can belong to no layer.

    All under one first name go, or none: by that name, or by the names of the states of a metric. A matrix or a filter
    of numbers that can be trained is a layer's, whatever it is called.
    """
    groups: dict[str, list[str]] = {}
    for name in weights:
        groups.setdefault(name.partition(".")[0], []).append(name)
    return [name for first, names in groups.items() if _is_extra(first, names, weights) for name in names]


def _is_extra(first: str, names: list[str], weights: Mapping[str, Tensor]) -> bool:
    if any(weights[name].ndim > 1 and weights[name].is_floating_point() and not _is_state(name) for name in names):
        return False
    if names == [first]:
        return weights[first].numel() == 1 and (first in COUNTERS or TRAINING.fullmatch(first) is not None)
    return TRAINING.fullmatch(first) is not None or all(map(_is_state, names))


def _is_state(name: str) -> bool:
    return name.rpartition(".")[2] in STATES
