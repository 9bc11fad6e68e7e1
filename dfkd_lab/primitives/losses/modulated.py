"""A loss that is weighed sample by sample."""

from __future__ import annotations

from torch import Tensor

from dfkd_lab.primitives.losses.base import Loss, LossFunction, needs_of
from dfkd_lab.primitives.memories import Memory
from dfkd_lab.primitives.observer import Observation


class Modulated:
    """``loss`` [N] times ``weight`` [N], which carries no gradient; the log has both, this and ``unmodulated``.

    Args:
        loss: Gives [N].
        weight: Gives [N]; what it needs, and its ``bind``, are this loss's too.
    """

    unmodulated: Tensor
    """What ``loss`` was before, the last time, [N]."""

    def __init__(self, loss: LossFunction, weight: Loss):
        self.loss, self.weight = loss, weight
        self.needs = needs_of(loss) | needs_of(weight)

    def bind(self, memory: Memory) -> None:
        """Hand the run's memory to the weight."""
        if bind := getattr(self.weight, "bind", None):
            bind(memory)

    def __call__(self, observation: Observation) -> Tensor:
        value = self.loss(observation)
        self.unmodulated = value.detach()
        return self.weight(observation) * value
