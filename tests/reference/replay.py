"""Twins of what MAD and DFAD+AR+VI add to the game. Logits t, s are [N, K], images x are [N, C, H, W]."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def moving_average(begun: Array, history: Sequence[Array], momentum: float) -> Array:
    """theta~ <- alpha theta~ + (1 - alpha) theta, once for each theta (MAD)."""
    average = [float(value) for value in begun]
    for theta in history:
        average = [momentum * mine + (1 - momentum) * float(new) for mine, new in zip(average, theta, strict=True)]
    return np.array(average)


def both_means(live: Sequence[float], past: Sequence[float], weight: float) -> float:
    """E_live[D] + lambda_1 E_past[D] (MAD, lambda_0 = 1)."""
    return sum(live) / len(live) + weight * sum(past) / len(past)


def near_boundary(layers: Sequence[Array]) -> Array:
    """sum_l mean abs(a_l) of each sample (DFAD+AR+VI)."""
    losses = np.zeros(len(layers[0]))
    for maps in layers:
        for i in range(len(losses)):
            values = [abs(float(value)) for value in maps[i].ravel()]
            losses[i] += sum(values) / len(values)
    return losses


def mixed(rows: Array, others: Sequence[int], shares: Sequence[float]) -> Array:
    """lambda_i x_i + (1 - lambda_i) x_j, j the partner of i."""
    found = np.zeros_like(rows)
    for i, (j, share) in enumerate(zip(others, shares, strict=True)):
        found[i] = share * rows[i] + (1 - share) * rows[j]
    return found


def l1(t: Array, s: Array) -> Array:
    """mean_c abs(s_c - t_c)."""
    rows = zip(t, s, strict=True)
    return np.array([sum(abs(b - a) for a, b in zip(one, other, strict=True)) / len(one) for one, other in rows])
