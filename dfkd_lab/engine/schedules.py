"""How a learning rate falls."""

import math
from collections.abc import Sequence


def cosine(share: float, start: float, floor: float) -> float:
    """From ``start`` to ``floor`` along half a cosine, as ``share`` of the way goes from 0 to 1."""
    return floor + (start - floor) * (1 + math.cos(math.pi * share)) / 2


def risen_cosine(step: int, steps: int, start: float, rise: int) -> float:
    """Up to ``start`` in equal parts over the first ``rise`` of ``steps``, then down to 0 along half a cosine."""
    if step < rise:
        return start * (step + 1) / rise
    return cosine((step - rise) / max(1, steps - rise), start, 0.0)


def stepped(share: float, start: float, milestones: Sequence[float]) -> float:
    """A tenth of ``start`` for each of ``milestones``, shares of the way, that ``share`` has reached."""
    return start * 0.1 ** sum(share >= each for each in milestones)


def learning_rate(share: float, start: float, floor: float = 0.0, milestones: Sequence[float] | None = None) -> float:
    """The rate after ``share`` of the way, in [0, 1]: along a cosine to ``floor``, or in steps at ``milestones``."""
    return cosine(share, start, floor) if milestones is None else stepped(share, start, milestones)
