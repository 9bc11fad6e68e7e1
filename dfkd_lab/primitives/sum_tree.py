"""A sum tree: draw places in proportion to their scores, at a cost that hardly grows with their number."""

import torch
from torch import Tensor, nn


class SumTree(nn.Module):
    """Scores of ``capacity`` places, none below 0, under two levels of sums (prioritized replay, arXiv:1511.05952).

    A node has f = ceil(capacity^(1/3)) children: f sums of f sums of f scores, so that a draw or an update reads
    three rows of f numbers whatever f is. Everything stays on the device and nothing waits for it. All levels are
    recomputed from the scores below and never corrected by differences, so that no error adds up; float64 keeps
    a score of 1e-6 apart in a sum of millions. No level is part of the state dict: :meth:`fill` restores them.
    """

    scores: Tensor
    sums: Tensor
    top: Tensor

    def __init__(self, capacity: int):
        super().__init__()
        self.capacity, self.fan = capacity, 1
        while self.fan**3 < capacity:
            self.fan += 1
        for depth, name in enumerate(("top", "sums", "scores"), 1):
            self.register_buffer(name, torch.zeros([self.fan] * depth, dtype=torch.double), persistent=False)

    @property
    def total(self) -> Tensor:
        """The sum of all scores, a scalar."""
        return self.top.sum()

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        return self.scores.view(-1)[places]

    def fill(self, scores: Tensor) -> None:
        """The first places get these scores [n], the others 0."""
        self.scores.zero_().view(-1)[: len(scores)] = scores.double()
        self.sums.copy_(self.scores.sum(2))
        self.top.copy_(self.sums.sum(1))

    def update(self, places: Tensor, scores: Tensor) -> None:
        """These places [n] get these scores [n]; one that is named twice must come with the same score both times."""
        self.scores.view(-1).index_copy_(0, places, scores.double())
        node = places // self.fan
        self.sums.view(-1).index_copy_(0, node, self.scores.view(-1, self.fan).index_select(0, node).sum(1))
        torch.sum(self.sums, 1, out=self.top)

    def draw(self, n: int) -> Tensor:
        """``n`` places, with replacement; a place of score 0 never. Some score must be above 0."""
        # a number of its own for each level: what is left of one, rescaled, might round to the end of the last column
        numbers = torch.rand(3, n, 1, dtype=torch.double, device=self.top.device)
        node = _pick(self.top[None], numbers[0].view(1, n)).view(n)
        for level, number in zip((self.sums, self.scores), numbers[1:], strict=True):
            node = node * self.fan + _pick(level.view(-1, self.fan).index_select(0, node), number).view(n)
        return node


def _pick(weights: Tensor, numbers: Tensor) -> Tensor:
    """Columns [R, n] of the rows of ``weights`` [R, f], by weight, for ``numbers`` [R, n] in [0, 1)."""
    ends = weights.cumsum(1)
    return torch.searchsorted(ends, numbers * ends[:, -1:], right=True)
