"""Twin of the contrast. Embeddings are rows [D] of near (local) and far (global) views."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def projected(e: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Array:
    """normalise( W2 ReLU(W1 e + b1) + b2 )."""
    hidden = [max(0.0, sum(w * x for w, x in zip(row, e, strict=True)) + b) for row, b in zip(w1, b1, strict=True)]
    out = [sum(w * x for w, x in zip(row, hidden, strict=True)) + b for row, b in zip(w2, b2, strict=True)]
    return np.array(out) / math.sqrt(sum(value**2 for value in out))


def dot(a: Array, b: Array) -> float:
    """Inner product."""
    return float(sum(x * y for x, y in zip(a, b, strict=True)))


def contrast(
    near: Sequence[Array], far: Sequence[Array], queue: Sequence[Array], weights: Sequence[Array], tau: float
) -> Array:
    """l_i of the batch, each plus the mean of l over the queue's rows [2, D] (near, far) if there are any."""
    queries = [projected(e, *weights) for e in [*near, *(row[0] for row in queue)]]
    keys = [projected(e, *weights) for e in [*far, *(row[1] for row in queue)]]
    losses = []
    for i, query in enumerate(queries):
        exponentials = [math.exp(dot(query, key) / tau) for key in keys]
        losses.append(-math.log(exponentials[i] / sum(exponentials)))
    new, old = losses[: len(near)], losses[len(near) :]
    return np.array([loss + (sum(old) / len(old) if old else 0.0) for loss in new])
