"""Terms: an observation -> a loss per sample [N], or a scalar where only the whole batch has one.

Weights and means are the loop's business, so that a term can be masked, modulated and shown unweighted. Symbols in
brackets are the papers'. What a term needs beyond the teacher's logits it declares in ``needs``.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.observe import Observation, same_size


class Term(Protocol):
    """Anything that turns an observation into a loss.

    A term that learns has ``step()``, called after each synthesis step, when its parameters hold their gradient; one
    that remembers has ``commit(batch)``, called with the kept images when a synthesis phase ends; one that depends on
    what is remembered has ``bind(memory)``.
    """

    def __call__(self, seen: Observation, /) -> Tensor:
        """The loss per sample [N], or a scalar."""
        ...


Function = Callable[[Observation], Tensor]


def needs(*names: str) -> Callable[[Function], Function]:
    """Declare what a term reads beyond the teacher's logits: "labels", or what :class:`Observer` can record."""

    def mark(term: Function) -> Function:
        term.needs = frozenset(names)  # type: ignore[attr-defined]
        return term

    return mark


def needs_of(term: Any) -> frozenset[str]:
    """What ``term`` declared."""
    return getattr(term, "needs", frozenset())


def confidence(seen: Observation) -> Tensor:
    """Cross entropy [N] to the teacher's own prediction (DAFL, L_oh), in nats; 0 for a one-hot prediction."""
    return F.cross_entropy(seen.logits, seen.logits.detach().argmax(1), reduction="none")


@needs("labels")
def label(seen: Observation) -> Tensor:
    """Cross entropy [N] to the label that was asked for (DeepInversion, CMI), in nats."""
    assert seen.labels is not None
    return F.cross_entropy(seen.logits, seen.labels, reduction="none")


def balance(base: float = math.e) -> Function:
    """Negative entropy of the mean prediction (DAFL, L_ie): minimal, -log K, when the batch covers all classes evenly.

    DAFL's code takes ``base`` 10, the CMI toolbox e: 20 in nats weighs as much as 46 in base 10.
    """

    def imbalance(seen: Observation) -> Tensor:
        mean = seen.logits.softmax(1).mean(0)
        return torch.special.entr(mean).sum().neg() / math.log(base)

    return imbalance


@needs("features")
def activation(seen: Observation) -> Tensor:
    """Minus the mean absolute penultimate feature [N] of the teacher (DAFL, L_a)."""
    assert seen.features is not None
    return -seen.features.abs().mean(1)


class BatchNormGap(nn.Module):
    """Distance of the batch's statistics from what each batch-norm layer remembers (DeepInversion, L_bn), a scalar.

    Sum over layers of the un-squared L2 norms for mean and biased variance, at the *input* of each layer. With
    ``momentum`` > 0 the batch's statistics are blended with their running average of earlier rounds from the second
    round on (FastDFKD): (1 - momentum) * batch + momentum * average, which scales the gradient by 1 - momentum.
    """

    needs = frozenset({"statistics"})
    commits: Tensor
    places: Tensor

    def __init__(self, layers: list[nn.BatchNorm2d], momentum: float = 0.0):
        super().__init__()
        self.momentum = momentum
        sizes = [layer.num_features for layer in layers for _ in ("mean", "variance")]
        self.averages = nn.ParameterList(nn.Parameter(torch.zeros(size), requires_grad=False) for size in sizes)
        self.register_buffer("commits", torch.zeros((), dtype=torch.long))
        self.width = max(sizes, default=0)
        places = [row * self.width + torch.arange(size) for row, size in enumerate(sizes)]
        self.register_buffer("places", torch.cat([torch.arange(0), *places]), persistent=False)
        self._last: Tensor | None = None

    def forward(self, seen: Observation) -> Tensor:
        # all layers at once: by themselves, their few numbers would cost hundreds of operations
        now = torch.cat([moment for layer in seen.statistics for moment in (layer.mean, layer.variance)])
        kept = [moment for layer in seen.statistics for moment in (layer.running_mean, layer.running_variance)]
        self._last = now.detach().clone() if self._last is None else self._last.copy_(now.detach())
        blended = now.lerp(self._average(), torch.where(self.commits > 0, self.momentum, 0.0))
        padded = now.new_zeros(len(self.averages) * self.width).index_copy(0, self.places, torch.cat(kept) - blended)
        return torch.linalg.vector_norm(padded.view(-1, self.width), dim=1).sum()

    def commit(self, batch: Batch) -> None:
        """Take the last step's statistics into the average, once a phase."""
        assert self._last is not None, "commit() before the first step"
        blended = torch.where(self.commits > 0, self._last.lerp(self._average(), self.momentum), self._last)
        for average, new in zip(self.averages, blended.split([len(each) for each in self.averages]), strict=True):
            average.copy_(new)
        self.commits += 1

    def _average(self) -> Tensor:
        return torch.cat(list(self.averages))


def kl(temperature: float = 1.0) -> Function:
    """tau^2 KL(teacher || student) [N] at temperature tau (Hinton et al.), summed over classes, in nats."""

    @needs("student")
    def divergence(seen: Observation) -> Tensor:
        assert seen.student is not None
        target = F.log_softmax(seen.logits / temperature, 1)
        found = F.log_softmax(seen.student / temperature, 1)
        return F.kl_div(found, target, reduction="none", log_target=True).sum(1) * temperature**2

    return divergence


@needs("student")
def l1(seen: Observation) -> Tensor:
    """Mean absolute difference of the logits [N] (DFAD)."""
    assert seen.student is not None
    return (seen.student - seen.logits).abs().mean(1)


def js(temperature: float = 3.0, form: str = "true") -> Function:
    """Jensen-Shannon divergence [N] of teacher and student at ``temperature``, in nats, 0 to log 2.

    ``form`` "released" is what PRE-DFKD's code computes in its place: half of KL(M||P) + KL(M||Q) of probabilities
    clamped to [0.01, 0.99], as a mean over classes, without gradient through the teacher. Its clip at 1 is left out:
    the mean over classes stays below.
    Differs: DeepInversion's code sums the same over classes; here it gets the true one.
    """

    @needs("student")
    def divergence(seen: Observation) -> Tensor:
        assert seen.student is not None
        p, q = (seen.logits / temperature).softmax(1), (seen.student / temperature).softmax(1)
        if form == "released":
            return _released_js(p.detach(), q)
        entropy = torch.special.entr
        return (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).sum(1)

    return divergence


def _released_js(p: Tensor, q: Tensor) -> Tensor:
    p, q, middle = (each.clamp(0.01, 0.99) for each in (p, q, (p + q) / 2))
    return (middle * (middle.log() - (p.log() + q.log()) / 2)).mean(1)


@needs("student", "labels")
def student_label(seen: Observation) -> Tensor:
    """Cross entropy [N] of the student to the label that was asked for (CGDD), in nats."""
    assert seen.student is not None
    assert seen.labels is not None
    return F.cross_entropy(seen.student, seen.labels, reduction="none")


def attention(stages: int) -> Function:
    """Attention transfer [N] (Zagoruyko and Komodakis, p = 2), summed over ``stages`` stages of teacher and student.

    Of each map A the square's channel mean, as a vector of norm 1; of the two vectors the mean squared difference.
    Where the sizes differ the larger map is pooled.
    """

    @needs("maps")
    def distance(seen: Observation) -> Tensor:
        assert len(seen.maps) == len(seen.student_maps) == stages
        pairs = zip(seen.maps, seen.student_maps, strict=True)
        return torch.stack([_map_distance(*pair) for pair in pairs]).sum(0)

    return distance


def _map_distance(teacher: Tensor, student: Tensor) -> Tensor:
    mine, other = (F.normalize(x.square().mean(1).flatten(1)) for x in same_size(teacher, student))
    return (mine - other).square().mean(1)


def bounded(discrepancy: Function, bound: float) -> Function:
    """min(D, bound) [N]: what differs by more than that counts, and draws no further (MAD, both players)."""

    @needs(*needs_of(discrepancy))
    def capped(seen: Observation) -> Tensor:
        return discrepancy(seen).clamp(max=bound)

    return capped


def against(discrepancy: Function, agreeing: bool = False, bound: float = math.inf) -> Function:
    """The other player's side of a discrepancy D: -mask * min(D, bound) [N], which a generator minimizes.

    ``agreeing`` keeps only samples on which teacher and student predict the same class (CMI, FastDFKD); masked
    samples count as zeros. ``bound`` caps D (:func:`bounded`).
    """
    capped = bounded(discrepancy, bound)

    @needs("student")
    def gap(seen: Observation) -> Tensor:
        assert seen.student is not None
        same = seen.student.argmax(1) == seen.logits.argmax(1)
        return -capped(seen) * (same if agreeing else 1)

    return gap


def total_variation(seen: Observation) -> Tensor:
    """Sum of the L2 norms of the four neighbour differences over the whole batch (DeepInversion, TV), a scalar."""
    x = seen.images
    differences = (
        x[:, :, :, 1:] - x[:, :, :, :-1],
        x[:, :, 1:] - x[:, :, :-1],
        x[:, :, 1:, 1:] - x[:, :, :-1, :-1],
        x[:, :, 1:, :-1] - x[:, :, :-1, 1:],
    )
    return torch.stack([difference.norm() for difference in differences]).sum()


def l2(seen: Observation) -> Tensor:
    """L2 norm [N] of each image (DeepInversion's prior)."""
    return seen.images.flatten(1).norm(dim=1)
