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
        self.scores.view(-1)[places] = scores.double()
        node = places // self.fan
        self.sums.view(-1)[node] = self.scores.view(-1, self.fan)[node].sum(1)
        self.top.copy_(self.sums.sum(1))

    def draw(self, n: int) -> Tensor:
        """``n`` places, with replacement; a place of score 0 never. Some score must be above 0."""
        node = _pick(self.top.expand(n, -1))
        for level in (self.sums, self.scores):
            node = node * self.fan + _pick(level.view(-1, self.fan).index_select(0, node))
        return node


def _pick(weights: Tensor) -> Tensor:
    """A column of each row of ``weights`` [N, f], by its weight, [N]."""
    ends = weights.cumsum(1)
    # a number of its own for each level: what is left of one, rescaled, might round to the end of the last column
    at = torch.rand(len(ends), 1, dtype=ends.dtype, device=ends.device) * ends[:, -1:]
    return torch.searchsorted(ends, at, right=True).squeeze(1)


def last_of_each(places: Tensor) -> Tensor:
    """Where in ``places`` [n] the same place is named last, for each [n].

    ``values[last_of_each(places)]`` lets the last of several values for a place win, on a GPU too, where the order in
    which an assignment writes is not defined.
    """
    ranked, order = places.sort(stable=True)
    return order[torch.searchsorted(ranked, places, right=True) - 1]
