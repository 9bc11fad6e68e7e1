"""What a loss is, and how it says what it needs."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

from torch import Tensor

from dfkd_lab.primitives.observer import Observation


class Loss(Protocol):
    """The slot: an observation -> a loss per sample [N], or a scalar where only the whole batch has one.

    Weights and means are the loop's business, so that a loss can be masked, modulated and shown unweighted. A loss that
    learns has ``step()``, called after each synthesis step, when its parameters hold their gradient; one that remembers
    has ``commit(batch)``, called with the kept images when a synthesis phase ends; one that depends on what is
    remembered has ``bind(memory)``, called once before the first round.
    """

    def __call__(self, observation: Observation, /) -> Tensor:
        """The loss [N] or a scalar."""
        ...


LossFunction = Callable[[Observation], Tensor]


def needs(*names: str) -> Callable[[LossFunction], LossFunction]:
    """Declare what a loss reads beyond the teacher's logits.

    Args:
        names: "labels", or what :class:`~dfkd_lab.primitives.observer.Observer` can record.

    Returns:
        A decorator of losses.
    """

    def mark(loss: LossFunction) -> LossFunction:
        loss.needs = frozenset(names)  # type: ignore[attr-defined]
        return loss

    return mark


def per_sample(loss: LossFunction) -> LossFunction:
    """Average over an image what a loss gives for each of its pixels (dense prediction); what is [N] already stays.

    Args:
        loss: Gives [N], or [N, H, W] for dense logits.

    Returns:
        A loss that gives [N]; ``loss`` itself is its ``per_pixel``, for what masks or bounds it pixel by pixel.
    """

    @needs(*needs_of(loss))
    @wraps(loss)
    def averaged(observation: Observation) -> Tensor:
        return over_pixels(loss(observation))

    averaged.per_pixel = loss  # type: ignore[attr-defined]
    return averaged


def over_pixels(values: Tensor) -> Tensor:
    """Values [N] as they are, or the mean [N] over the pixels of values [N, ...]."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def needs_of(loss: Any) -> frozenset[str]:
    """What a loss declared by :func:`needs`.

    Args:
        loss: Any loss.

    Returns:
        The names; none if it declared nothing, and reads the teacher's logits alone.
    """
    return getattr(loss, "needs", frozenset())
