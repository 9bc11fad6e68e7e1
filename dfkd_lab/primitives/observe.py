"""One pass of the frozen teacher, and of the student where a term asks for it, seen by every term at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.primitives.moments import Moments

OF_STUDENT = frozenset({"student", "maps", "gradients"})
"""Needs of a term for which the images pass the student too."""
FROM_OUTSIDE = frozenset({"student", "labels"})
"""Needs of a term that look at nothing inside the teacher."""


class Classifier(nn.Module):
    """A network that takes images [N, C, H, W] in [0, 1] and normalizes them itself -> logits [N, K]."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.network_units(images))

    def network_units(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the network was trained to see them."""
        return (images - self.mean) / self.std


class Frozen(Classifier):
    """A classifier that nothing can train: always in eval mode, no parameter asks for a gradient."""

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__(net, mean, std)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


@dataclass
class Observation:
    """What one pass yields. Rows [N] belong to ``images``; what nobody asked for is absent."""

    images: Tensor
    logits: Tensor
    labels: Tensor | None = None
    student: Tensor | None = None
    features: Tensor | None = None
    maps: list[Tensor] = field(default_factory=list)
    """The teacher's map [N, C, H, W] after each stage."""
    student_maps: list[Tensor] = field(default_factory=list)
    """The student's, in the same order."""
    statistics: list[LayerStatistics] = field(default_factory=list)
    instance_means: list[Tensor] = field(default_factory=list)
    """Per batch-norm layer of the teacher the spatial mean [N, C] of its input."""
    preactivations: list[Tensor] = field(default_factory=list)
    """Per batch-norm layer of the teacher its output [N, C, H, W], which the nonlinearity behind it bends."""
    gradients: list[Tensor] = field(default_factory=list)
    """Gradient [N, C, H, W] of the logit of the teacher's class by each of ``maps``, without a graph of its own."""
    student_gradients: list[Tensor] = field(default_factory=list)
    """The same for the student's logit of that class and ``student_maps``."""


@dataclass
class LayerStatistics:
    """Mean and biased variance [C] of the *input* of one batch-norm layer, and what the layer remembers."""

    mean: Tensor
    variance: Tensor
    running_mean: Tensor
    running_variance: Tensor


class Observer:
    """Looks at the teacher through hooks, so that no network has to be edited.

    ``needs`` of a call says what to record: "student" (its logits), "features" (input of the teacher's last linear
    layer), "statistics" (input statistics of every BatchNorm2d), "instance_means" and "preactivations" (of the same
    layers, per sample), "maps" (output of every stage of both networks; asks the student too), "gradients" (maps, and
    the gradient of the logit of the teacher's class by each). Networks compute inside ``passes``, which may be half
    precision; what is observed is in 32 bits. Where nothing but logits is recorded, and no gradient, the ``oracle`` is
    asked in the teacher's place: it must answer the same.
    """

    def __init__(
        self,
        teacher: Frozen,
        student: nn.Module,
        passes: AbstractContextManager[Any] | None = None,
        oracle: Frozen | None = None,
    ):
        self.teacher, self.student, self.passes = teacher, student, passes or nullcontext()
        self.oracle = oracle or teacher
        self.queries = 0
        self._seen: Observation | None = None
        self._needs: frozenset[str] = frozenset()
        self.norms = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
        for layer in self.norms:
            layer.register_forward_pre_hook(self._keep_statistics)
            layer.register_forward_hook(self._keep_preactivation)
        self.heads = head_of(teacher), head_of(student)
        if self.heads[0] is not None:
            self.heads[0].register_forward_pre_hook(self._keep_features)
        self.stages, self.student_stages = stages_of(teacher), stages_of(student)
        for stage in (*self.stages, *self.student_stages):
            stage.register_forward_hook(self._keep_map)

    def __call__(
        self, images: Tensor, labels: Tensor | None = None, needs: frozenset[str] = frozenset(), graph: bool = False
    ) -> Observation:
        """Pass ``images`` [N, C, H, W] through the teacher; ``graph`` keeps the gradient path back to the images."""
        seen = Observation(images=images, logits=images, labels=labels)
        differentiate = "gradients" in needs
        needs = needs | {"maps"} if differentiate else needs
        shown = images.detach().requires_grad_() if differentiate and not graph else images
        mode = torch.enable_grad() if differentiate else nullcontext() if graph else torch.no_grad()
        with mode, self._record(seen, needs):
            asked = self.teacher if graph or needs - FROM_OUTSIDE else self.oracle
            seen.logits = asked(shown).float()
        if differentiate:
            class_ = seen.logits.argmax(1, keepdim=True)
            seen.gradients = _by_maps(seen.logits, class_, seen.maps, keep=graph)
            if not graph:
                seen.logits, seen.maps = seen.logits.detach(), [each.detach() for each in seen.maps]
        if needs & OF_STUDENT:
            with torch.enable_grad() if differentiate else nullcontext(), self._record(seen, needs & {"maps"}):
                seen.student = self.student(images).float()
            if differentiate:
                seen.student_gradients = _by_maps(seen.student, class_, seen.student_maps, keep=True)
        for maps in (seen.maps, seen.student_maps, seen.gradients, seen.student_gradients):
            maps[:] = [each.float() for each in maps]
        self.queries += len(images)
        return seen

    def student_alone(self, images: Tensor, labels: Tensor | None, logits: Tensor) -> Observation:
        """Pass ``images`` [N, C, H, W] through the student, beside ``logits`` [N, K] that the teacher gave before."""
        with self.passes:
            return Observation(images=images, logits=logits, labels=labels, student=self.student(images).float())

    @contextmanager
    def _record(self, seen: Observation, needs: frozenset[str]) -> Iterator[None]:
        self._seen, self._needs = seen, needs
        try:
            with self.passes:
                yield
        finally:
            self._seen, self._needs = None, frozenset()

    def _keep_statistics(self, layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        if self._seen is not None and "statistics" in self._needs:
            mean, variance = Moments.apply(inputs[0])
            assert layer.running_mean is not None
            assert layer.running_var is not None
            self._seen.statistics.append(LayerStatistics(mean, variance, layer.running_mean, layer.running_var))
        if self._seen is not None and "instance_means" in self._needs:
            self._seen.instance_means.append(inputs[0].float().mean((2, 3)))

    def _keep_preactivation(self, layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._seen is not None and "preactivations" in self._needs:
            self._seen.preactivations.append(output.clone().float())  # a ReLU in place would bend what is kept

    def _keep_features(self, layer: nn.Linear, inputs: tuple[Tensor, ...]) -> None:
        if self._seen is not None and "features" in self._needs:
            self._seen.features = inputs[0].flatten(1).float()

    def _keep_map(self, stage: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._seen is not None and "maps" in self._needs:
            teachers = any(stage is mine for mine in self.stages)
            (self._seen.maps if teachers else self._seen.student_maps).append(output)


def _by_maps(logits: Tensor, class_: Tensor, maps: list[Tensor], keep: bool) -> list[Tensor]:
    """The gradient of each sample's logit of ``class_`` [N, 1] by its maps; ``keep`` leaves the graph for backward."""
    with torch.enable_grad():  # also where the caller wants no graph
        chosen = logits.gather(1, class_).sum()
    return list(torch.autograd.grad(chosen, maps, retain_graph=keep))


def same_size(teacher: Tensor, student: Tensor) -> list[Tensor]:
    """Maps [N, C, H, W] of both networks, the larger ones pooled to the height and width of the smaller."""
    size = min(teacher.shape[2], student.shape[2]), min(teacher.shape[3], student.shape[3])
    return [x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (teacher, student)]


def head_of(model: nn.Module) -> nn.Linear | None:
    """The last linear layer of a network; None if it has none."""
    linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return linears[-1] if linears else None


def stages_of(model: nn.Module) -> list[nn.Module]:
    """The children of a network's ``stages``, else its ``layer1`` to ``layer4``; nothing if it has neither."""
    net = model.net if isinstance(model, Classifier) else model
    stages = getattr(net, "stages", None)
    if isinstance(stages, nn.Module):
        return list(stages.children())
    return [getattr(net, name) for name in ("layer1", "layer2", "layer3", "layer4") if hasattr(net, name)]
