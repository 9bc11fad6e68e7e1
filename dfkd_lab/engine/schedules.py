"""How a learning rate falls."""

import math


def cosine(share: float, start: float, floor: float) -> float:
    """From ``start`` to ``floor`` along half a cosine, as ``share`` of the way goes from 0 to 1."""
    return floor + (start - floor) * (1 + math.cos(math.pi * share)) / 2
