"""A sum tree: draw places in proportion to their scores, at a cost that hardly grows with their number."""

import torch
from torch import Tensor, nn

ROW = 8192
"""A tree pays only above some thousand places; this many are chosen, not tuned."""
FAN = 32
"""Children of a node below the top."""


class SumTree(nn.Module):
    """Scores of ``capacity`` places, none below 0, under sums (prioritized replay, arXiv:1511.05952).

    Up to ``row`` places are one row of scores without sums. More stand under two levels of them: t sums of f = 32 sums
    of f scores. Of those a draw reads two rows of f numbers a place whatever the capacity, and the t = capacity / f^2
    at the top once for all places. Everything stays on the device and nothing waits for it. All sums are recomputed
    from the scores below and never corrected by differences, so that no error adds up; float64 keeps a score of 1e-6
    apart in a sum of millions. No level is part of the state dict: :meth:`fill` restores them.
    """

    def __init__(self, capacity: int, row: int = ROW):
        super().__init__()
        self.capacity = capacity
        shape = [capacity] if capacity <= row else [-(-capacity // FAN**2), FAN, FAN]
        self.depth = len(shape)
        for depth in range(1, self.depth + 1):
            self.register_buffer(f"level{depth}", torch.zeros(shape[:depth], dtype=torch.double), persistent=False)

    @property
    def levels(self) -> list[Tensor]:
        """From the sums of all below the top, [t], to the scores, [t, f, f]; or the scores alone."""
        return [getattr(self, f"level{depth}") for depth in range(1, self.depth + 1)]

    @property
    def scores(self) -> Tensor:
        """The scores of all places, and zeros behind them."""
        return self.levels[-1].view(-1)

    @property
    def total(self) -> Tensor:
        """The sum of all scores, a scalar."""
        return self.levels[0].sum()

    def fill(self, scores: Tensor) -> None:
        """The first places get these scores [n], the others 0."""
        self.scores.zero_()[: len(scores)] = scores.double()
        levels = self.levels
        for above, below in zip(levels[-2::-1], levels[:0:-1], strict=True):
            torch.sum(below, -1, out=above)

    def update(self, places: Tensor, scores: Tensor) -> None:
        """These places [n] get these scores [n]; one that is named twice must come with the same score both times."""
        levels = self.levels
        levels[-1].view(-1).index_copy_(0, places, scores.double())
        if self.depth == 1:
            return
        top, sums, lowest = levels
        node = places // FAN
        sums.view(-1).index_copy_(0, node, lowest.view(-1, FAN).index_select(0, node).sum(1))
        torch.sum(sums, 1, out=top)

    def draw(self, n: int) -> Tensor:
        """``n`` places, with replacement; a place of score 0 never. Some score must be above 0."""
        top, *below = self.levels
        # a number of its own for each level: what is left of one, rescaled, might round to the end of the last column
        numbers = torch.rand(self.depth, n, 1, dtype=torch.double, device=top.device)
        node = _pick(top[None], numbers[0].view(1, n)).view(n)
        for level, number in zip(below, numbers[1:], strict=True):
            node = node * FAN + _pick(level.view(-1, FAN).index_select(0, node), number).view(n)
        return node


def _pick(weights: Tensor, numbers: Tensor) -> Tensor:
    """Columns [R, n] of the rows of ``weights`` [R, f], by weight, for ``numbers`` [R, n] in [0, 1)."""
    ends = weights.cumsum(1)
    return torch.searchsorted(ends, numbers * ends[:, -1:], right=True)
