"""The distance from the statistics that the teacher's batch norms remember of its training data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dfkd_lab.nets.batch_norms import running_statistics
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation


class BatchNormGap(nn.Module):
    """Distance of the batch's statistics from each batch norm's running statistics (DeepInversion, L_bn), a scalar.

    Sum over layers of the un-squared L2 norms for mean and biased variance, at the *input* of each layer.

    Args:
        layers: The teacher's batch norms that keep statistics, in the order they are passed.
        momentum: Share of earlier rounds in the batch's statistics, in [0, 1). Above 0 they are blended, from the
            second round on, with their running average (FastDFKD): (1 - momentum) * batch + momentum * average, which
            scales the gradient by 1 - momentum.
        first: Factor of the first layer's two norms in the sum.
    """

    needs = frozenset({"statistics"})
    commits: Tensor
    places: Tensor

    def __init__(self, layers: Sequence[nn.Module], momentum: float = 0.0, first: float = 1.0):
        super().__init__()
        self.momentum, self.first = momentum, first
        sizes = [len(each) for layer in layers for each in running_statistics(layer)]
        self.averages = nn.ParameterList(nn.Parameter(torch.zeros(size), requires_grad=False) for size in sizes)
        self.register_buffer("commits", torch.zeros((), dtype=torch.long))
        self.width = max(sizes, default=0)
        places = [row * self.width + torch.arange(size) for row, size in enumerate(sizes)]
        self.register_buffer("places", torch.cat([torch.arange(0), *places]), persistent=False)
        self._last: Tensor | None = None

    def forward(self, observation: Observation) -> Tensor:
        # all layers at once: by themselves, their few numbers would cost hundreds of operations
        now = torch.cat([each for layer in observation.statistics for each in (layer.mean, layer.variance)])
        target = [each for layer in observation.statistics for each in (layer.running_mean, layer.running_variance)]
        self._last = now.detach()
        # torch.where, not if: nothing waits for the device to say whether this is the first phase
        blended = now.lerp(self._average(), torch.where(self.commits > 0, self.momentum, 0.0))
        # one row a layer and statistic, padded with zeros, which add nothing to a norm
        padded = now.new_zeros(len(self.averages) * self.width).index_copy(0, self.places, torch.cat(target) - blended)
        norms = torch.linalg.vector_norm(padded.view(-1, self.width), dim=1)
        return norms.sum() if self.first == 1 else norms.sum() + (self.first - 1) * norms[:2].sum()

    def commit(self, batch: Batch) -> None:
        """Take the last step's statistics into the average, once a phase."""
        assert self._last is not None, "commit() before the first step"
        blended = torch.where(self.commits > 0, self._last.lerp(self._average(), self.momentum), self._last)
        for average, new in zip(self.averages, blended.split([len(each) for each in self.averages]), strict=True):
            average.copy_(new)
        self.commits += 1

    def _average(self) -> Tensor:
        return torch.cat(list(self.averages))
