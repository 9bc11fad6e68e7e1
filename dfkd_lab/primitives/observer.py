"""One pass of the frozen teacher, and of the student where a loss asks for it, observed for all losses at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.errors import RunError
from dfkd_lab.nets.batch_norms import maps_given, running_statistics
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.batch_statistics import BatchStatistics
from dfkd_lab.primitives.last_maps import last_maps_of
from dfkd_lab.primitives.layers import layers_of
from dfkd_lab.system.faults import reason

NEEDS_STUDENT = frozenset({"student", "maps", "last_maps", "gradients"})
"""Needs of a loss for which the images pass the student too."""
NEEDS_LOGITS_ONLY = frozenset({"student", "labels"})
"""Needs of a loss that read nothing inside the teacher."""


@dataclass
class Observation:
    """What one pass yields. Rows [N] belong to ``images``; what no loss asked for is absent."""

    images: Tensor
    logits: Tensor
    """The teacher's [N, K]."""
    labels: Tensor | None = None
    """The target class [N]."""
    student: Tensor | None = None
    """The student's logits [N, K]."""
    features: Tensor | None = None
    """The input [N, D] of the teacher's last linear layer."""
    maps: list[Tensor] = field(default_factory=list)
    """The teacher's feature map [N, C, H, W] after each stage."""
    student_maps: list[Tensor] = field(default_factory=list)
    """The student's, in the same order."""
    last_maps: Tensor | None = None
    """The teacher's feature maps [N, D, H, W] whose spatial means are ``features``."""
    student_last_maps: Tensor | None = None
    """The same of the student."""
    statistics: list[LayerStatistics] = field(default_factory=list)
    """Of each batch-norm layer of the teacher."""
    instance_means: list[Tensor] = field(default_factory=list)
    """Per batch-norm layer of the teacher the spatial mean [N, C] of its input."""
    preactivations: list[Tensor] = field(default_factory=list)
    """Per batch-norm layer of the teacher its output [N, C, H, W], before the nonlinearity behind it."""
    gradients: list[Tensor] = field(default_factory=list)
    """Gradient [N, C, H, W] of the logit of the teacher's class by each of ``maps``, without a graph of its own."""
    student_gradients: list[Tensor] = field(default_factory=list)
    """The same for the student's logit of that class and ``student_maps``."""

    def detach_teacher(self) -> None:
        """What the teacher gave leads back to the images no more."""
        self.logits = self.logits.detach()
        self.maps = [each.detach() for each in self.maps]
        self.last_maps = None if self.last_maps is None else self.last_maps.detach()

    def keep_32_bits(self) -> None:
        """Losses on maps and gradients are computed in 32 bits, whatever the networks were."""
        for maps in (self.maps, self.student_maps, self.gradients, self.student_gradients):
            maps[:] = [each.float() for each in maps]
        self.last_maps, self.student_last_maps = (
            None if each is None else each.float() for each in (self.last_maps, self.student_last_maps)
        )


@dataclass
class LayerStatistics:
    """Mean and biased variance [C] of the *input* of one batch-norm layer, and its running statistics [C]."""

    mean: Tensor
    variance: Tensor
    running_mean: Tensor
    running_variance: Tensor


class Observer:
    """Observes teacher and student through hooks, so that no network has to be edited.

    ``needs`` of a call says what to record: "student" (its logits), "features" (input of the teacher's last linear
    layer), "statistics" (input statistics of every batch norm that keeps some), "instance_means" and "preactivations"
    (of the same layers, per sample), "maps" (output of every stage of both networks; runs the student too), "last_maps"
    (what both networks pool before their last linear layer), "gradients" (maps, and the gradient of the logit of the
    teacher's class by each). "labels" needs no recording.

    Args:
        teacher: Takes images [N, C, H, W] in [0, 1].
        student: Likewise.
        autocast: The context the networks compute in, maybe half precision; what is recorded is in 32 bits.
        folded_teacher: Gives the teacher's logits in fewer operations; it is run in the teacher's place where nothing
            but logits is recorded and no gradient is wanted.
        shape: Of the images, [C, H, W]: with it, two images pass both networks on the CPU, and only layers that they do
            pass are observed, those that they pass twice twice.
    """

    def __init__(
        self,
        teacher: Frozen,
        student: nn.Module,
        autocast: AbstractContextManager[Any] | None = None,
        folded_teacher: Frozen | None = None,
        shape: tuple[int, ...] | None = None,
    ):
        self.teacher, self.student, self.autocast = teacher, student, autocast or nullcontext()
        self.folded_teacher = folded_teacher or teacher
        self.queries = 0
        """Images passed through the teacher so far."""
        self._observation: Observation | None = None
        self._needs: frozenset[str] = frozenset()
        mine, others = layers_of(teacher, shape), layers_of(student, shape)
        self.batch_norms, self.heads = mine.batch_norms, (mine.head, others.head)
        for layer in dict.fromkeys(self.batch_norms):
            layer.register_forward_pre_hook(self._record_statistics)
            layer.register_forward_hook(self._record_preactivation)
        if self.heads[0] is not None:
            self.heads[0].register_forward_pre_hook(self._record_features)
        self.stages, self.student_stages = mine.stages, others.stages
        for stage in (*self.stages, *self.student_stages):
            stage.register_forward_hook(self._record_map)
        self.last_maps = (
            last_maps_of(teacher, self.stages, self.heads[0]),
            last_maps_of(student, self.student_stages, self.heads[1]),
        )
        for last, name in zip(self.last_maps, ("last_maps", "student_last_maps"), strict=True):
            if last is not None:
                last.hook(partial(self._record_last_maps, name))

    def __call__(
        self, images: Tensor, labels: Tensor | None = None, needs: frozenset[str] = frozenset(), graph: bool = False
    ) -> Observation:
        """Pass ``images`` through the teacher, and through the student where ``needs`` ask for it.

        Args:
            images: [N, C, H, W] in [0, 1].
            labels: The target class [N], handed on to the losses.
            needs: What to record, see the class.
            graph: Whether to keep the gradient path back to the images.

        Raises:
            RunError: if a network fails, as one of a user's own may on a batch of another size.
        """
        observation = Observation(images=images, logits=images, labels=labels)
        differentiate = "gradients" in needs
        needs = needs | {"maps"} if differentiate else needs
        # gradients by the maps need a graph that begins somewhere, also where the images have none
        inputs = images.detach().requires_grad_() if differentiate and not graph else images
        mode = torch.enable_grad() if differentiate else nullcontext() if graph else torch.no_grad()
        with mode, self._recording(observation, needs), _named("teacher", inputs):
            # the folded copy has no batch norms to hook, and its images' gradient would differ by rounding
            network = self.teacher if graph or needs - NEEDS_LOGITS_ONLY else self.folded_teacher
            observation.logits = network(inputs).float()  # a softmax in 16 bits loses the small probabilities
        class_ = None
        if differentiate:
            # the teacher's class for both: the student is compared on what the teacher looks for
            class_ = observation.logits.argmax(1, keepdim=True)
            observation.gradients = _gradients(observation.logits, class_, observation.maps, keep=graph)
            if not graph:
                observation.detach_teacher()
        if needs & NEEDS_STUDENT:
            self._pass_student(observation, needs, class_)
        observation.keep_32_bits()
        self.queries += len(images)
        return observation

    def _pass_student(self, observation: Observation, needs: frozenset[str], class_: Tensor | None) -> None:
        """Pass the images through the student; with ``class_`` [N, 1], also differentiate its logits of that class."""
        with (
            torch.enable_grad() if class_ is not None else nullcontext(),
            self._recording(observation, needs & {"maps", "last_maps"}),
            _named("student", observation.images),
        ):
            observation.student = _alike(self.student(observation.images).float(), observation.logits)
        if class_ is not None:
            maps = observation.student_maps
            observation.student_gradients = _gradients(observation.student, class_, maps, keep=True)

    def student_alone(self, images: Tensor, labels: Tensor | None, logits: Tensor) -> Observation:
        """Pass ``images`` through the student only, beside the teacher's stored answer.

        Args:
            images: [N, C, H, W] in [0, 1].
            labels: The target class [N].
            logits: What the teacher gave for these images before, [N, K].
        """
        with self.autocast, _named("student", images):
            student = _alike(self.student(images).float(), logits)
        return Observation(images=images, logits=logits, labels=labels, student=student)

    @contextmanager
    def _recording(self, observation: Observation, needs: frozenset[str]) -> Iterator[None]:
        self._observation, self._needs = observation, needs
        try:
            with self.autocast:
                yield
        finally:
            self._observation, self._needs = None, frozenset()
        for name in needs & {"statistics", "instance_means", "preactivations"}:
            passed, known = len(getattr(observation, name)), len(self.batch_norms)
            if passed != known:
                raise RunError(
                    f"images passed {passed} of the teacher's {known} batch norms, so which ones depends on the images;"
                    " choose a method or terms that read none"
                )

    def _record_statistics(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._observation is None or (maps := maps_given(layer, inputs)) is None:
            return
        if "statistics" in self._needs:
            # of the input, because the output of a layer in eval mode is normalized by what is to be matched
            mean, variance = BatchStatistics.apply(maps)
            self._observation.statistics.append(LayerStatistics(mean, variance, *running_statistics(layer)))
        if "instance_means" in self._needs:
            self._observation.instance_means.append(maps.float().mean((2, 3)))

    def _record_preactivation(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._observation is not None and "preactivations" in self._needs:
            maps = maps_given(layer, (output,))
            assert maps is not None
            # a copy, because a ReLU behind it may work in place
            self._observation.preactivations.append(maps.clone().float())

    def _record_features(self, layer: nn.Linear, inputs: tuple[Tensor, ...]) -> None:
        if self._observation is not None and "features" in self._needs:
            self._observation.features = inputs[0].flatten(1).float()

    def _record_map(self, stage: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._observation is not None and "maps" in self._needs:
            is_teachers = any(stage is each for each in self.stages)
            (self._observation.maps if is_teachers else self._observation.student_maps).append(output)

    def _record_last_maps(self, name: str, maps: Tensor) -> None:
        if self._observation is not None and "last_maps" in self._needs:
            setattr(self._observation, name, maps)


@contextmanager
def _named(who: str, images: Tensor) -> Iterator[None]:
    """Say which network failed on which images; memory that ran out and a broken seal are not its failures."""
    try:
        yield
    except Exception as error:
        is_other = isinstance(error, RuntimeError) and type(error) is not RuntimeError
        if is_other or isinstance(error, (MemoryError, OSError)) or "allocate" in str(error):
            raise
        raise RunError(f"the {who} failed on images {list(images.shape)} ({reason(error)})") from error


def _alike(student: Tensor, teacher: Tensor) -> Tensor:
    """The student's logits, which are of the teacher's shape.

    Raises:
        ValueError: if they are not.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"its logits are {list(student.shape)}, the teacher's {list(teacher.shape)}")
    return student


def _gradients(logits: Tensor, class_: Tensor, maps: list[Tensor], keep: bool) -> list[Tensor]:
    """The gradient of each sample's logit of ``class_`` [N, 1] by its maps; ``keep`` leaves the graph for backward."""
    with torch.enable_grad():  # also where the caller wants no graph
        chosen = logits.gather(1, class_).sum()
    return list(torch.autograd.grad(chosen, maps, retain_graph=keep))


def same_size(teacher: Tensor, student: Tensor) -> list[Tensor]:
    """Both feature maps at the smaller one's height and width; the larger is pooled.

    Args:
        teacher: [N, C, H, W].
        student: [N, C', H', W'].

    Returns:
        The teacher's and the student's map, [N, C, h, w] and [N, C', h, w].
    """
    size = min(teacher.shape[2], student.shape[2]), min(teacher.shape[3], student.shape[3])
    return [each if each.shape[2:] == size else F.adaptive_avg_pool2d(each, size) for each in (teacher, student)]
