"""The six slots, and the context in which a method fills them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from dfkd_lab.engine.context import MethodContext as MethodContext
from dfkd_lab.errors import RecipeError
from dfkd_lab.primitives.losses import Loss, needs_of
from dfkd_lab.primitives.memories import CachedViews, ImageBuffer, Memory
from dfkd_lab.primitives.observer import NEEDS_LOGITS_ONLY, Observation, Observer
from dfkd_lab.primitives.synthesizers import FixedImages, Synthesizer
from dfkd_lab.primitives.views import Identity, View

OF_WHOLE_IMAGES = {
    "labels": "a target class of the whole image",
    "features": "the features of a linear layer",
    "last_maps": "class activation maps",
    "gradients": "the gradient of one logit an image",
}
"""Needs of a loss that a network which labels every pixel does not meet, and what they are."""
NEEDS_BATCH_NORMS = frozenset({"statistics", "instance_means", "preactivations"})
"""Needs of a loss that only a teacher with batch norms can meet."""


@dataclass(frozen=True)
class WeightedLoss:
    """A loss and its weight in the sum; it counts from round ``start`` on."""

    weight: float
    loss: Loss
    start: int = 0


Losses = Mapping[str, WeightedLoss]
"""By the name they have in the log."""


def weighted_sum(losses: Losses, observation: Observation) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the losses, per sample [N]; a scalar one counts for every sample. And the mean of each.

    A loss that is modulated (SSD-KD) is given twice, as it counts and as ``unmodulated``.
    """
    parts, means = [], {}
    for name, each in losses.items():
        value = each.loss(observation)
        means[name] = value.detach().float().mean()
        if (before := getattr(each.loss, "unmodulated", None)) is not None:
            means[f"{name}_unmodulated"] = before.float().mean()
        parts.append(value if each.weight == 1 else each.weight * value)
    return sum(parts[1:], parts[0]).expand(len(observation.images)), means


def call_hooks(losses: Losses, event: str, *arguments: Any) -> None:
    """Call the hook ``event`` of the losses that have it (see :class:`~dfkd_lab.primitives.losses.Loss`)."""
    for each in losses.values():
        if hook := getattr(each.loss, event, None):
            hook(*arguments)


def needs_of_all(losses: Losses) -> frozenset[str]:
    """What these losses read beyond the teacher's logits."""
    return frozenset().union(*(needs_of(each.loss) for each in losses.values()))


@dataclass(frozen=True)
class Schedule:
    """Who steps how often, and the student's optimizer.

    A round is ``cycles`` times (``g_steps`` steps of the synthesizer, then ``s_steps`` steps of the student). During
    the first ``warm_up`` rounds the student rests. The student's learning rate falls from ``s_lr`` to ``s_lr_floor``
    along a cosine that ends with the run; with ``milestones``, shares of the run, to a tenth at each of them instead,
    and without any in it the rate stays.
    """

    g_steps: int
    s_steps: int
    batch: int
    s_lr: float
    cycles: int = 1
    warm_up: int = 0
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    s_lr_floor: float = 0.0
    milestones: tuple[float, ...] | None = None
    clip: float | None = None
    """The largest norm of the student's gradient."""
    student_mode: Literal["train", "eval"] = "eval"
    """The student's mode while the synthesizer is trained; "train" lets its batch norms see those batches."""

    def steps(self, rounds: int) -> tuple[int, int]:
        """Those of the synthesizer and of the student in a run of so many rounds."""
        return rounds * self.cycles * self.g_steps, max(0, rounds - self.warm_up) * self.cycles * self.s_steps

    def by(self, optimizer: str) -> Schedule:
        """The same with another optimizer of the student, "sgd" or "adam"; Adam has no weight decay."""
        if optimizer == "sgd":
            return replace(self, optimizer="sgd")
        # Adam divides a gradient by its size, so that weight decay in it would pull far harder
        return replace(self, optimizer="adam", weight_decay=0.0)


def leave_as_it_is(net: nn.Module) -> None:
    """A network keeps the weights it was made with."""


@dataclass
class Recipe:
    """One method, composed: what fills each slot. Names of losses are the names in the log."""

    synthesizer: Synthesizer
    losses: dict[str, WeightedLoss]
    student_losses: dict[str, WeightedLoss]
    memory: Memory
    schedule: Schedule
    view: View = field(default_factory=Identity)
    """Applied to the images the synthesizer is trained on."""
    student_view: View = field(default_factory=Identity)
    """Applied to the images the student is trained on."""
    initialize_student: Callable[[nn.Module], None] = leave_as_it_is
    """Draws the weights of the student's network anew, in place, where a paper starts it otherwise than others do."""

    def all_losses(self) -> dict[str, WeightedLoss]:
        """Those of the synthesizer and of the student; no two have the same name."""
        return {**self.losses, **self.student_losses}

    def modules(self) -> dict[str, Any]:
        """What has a state, by the name it has in a checkpoint: two slots, and the losses that own parameters."""
        owners = {f"term.{name}": each.loss for name, each in self.all_losses().items()}
        stateful = {name: loss for name, loss in owners.items() if isinstance(loss, nn.Module)}
        return {"synthesizer": self.synthesizer, "memory": self.memory, **stateful}

    def check(self, batch_norms: bool = True, head: bool = True, task: str = "classification") -> None:
        """Refuse slots that do not fit together, or a teacher without ``batch_norms`` or ``head`` that a loss reads.

        Of ``task`` "segmentation" also what only a class of the whole image has.

        Raises:
            RecipeError: with the reason and the cure.
        """
        if self.schedule.g_steps and not any(each.weight and not each.start for each in self.losses.values()):
            raise RecipeError("no loss of the synthesizer has a weight in the first round; give one a weight above 0")
        if not any(each.weight for each in self.student_losses.values()):
            raise RecipeError("no loss of the student has a weight; give one a weight above 0")
        if self.memory.draws and not self.synthesizer.can_sample:
            raise RecipeError(
                f"{_name(self.memory)} draws new images for every student step, and {_name(self.synthesizer)} has no "
                "source to draw from; choose a memory that keeps images"
            )
        if task == "segmentation":
            self._check_dense()
        self._check_labels()
        losses = {name: each for name, each in self.all_losses().items() if each.weight}
        if not batch_norms and (names := [name for name in losses if needs_of(losses[name].loss) & NEEDS_BATCH_NORMS]):
            cure = ",".join(f"{name}=0" for name in names)
            raise RecipeError(
                f"'{names[0]}' reads the teacher's batch-norm layers, and this teacher has none that "
                "keeps statistics of its training data and that images pass; "
                f"leave it out with terms = '{cure}', or choose a method without it"
            )
        if not head and (names := [name for name in losses if "features" in needs_of(losses[name].loss)]):
            raise RecipeError(
                f"'{names[0]}' reads what the teacher's linear layer is given, and this teacher has none; leave it out "
                f"with terms = '{names[0]}=0'"
            )

    def cached(self, views: int, observer: Observer, classes: int) -> CachedViews:
        """The memory, keeping ``views`` views of each image with the teacher's logits.

        Raises:
            RecipeError: if it keeps no images, or a loss of the student reads more of the teacher than its logits.
        """
        if isinstance(self.memory, ImageBuffer) and self.memory.shares is not None:
            raise RecipeError(
                f"cache_views = {views} keeps the teacher's logits of each view, and of a teacher that labels every "
                "pixel they take hundreds of times the memory of the images; allowed: 0"
            )
        if not (isinstance(self.memory, ImageBuffer) and self.memory.reads_images):
            raise RecipeError(
                f"cache_views = {views} keeps views of stored images, and {_name(self.memory)} stores none; "
                "allowed: 0, or a memory of images, as memory = 'ring'"
            )
        for name, each in self.student_losses.items():
            if each.weight and (more := sorted(needs_of(each.loss) - NEEDS_LOGITS_ONLY)):
                raise RecipeError(
                    f"cache_views = {views} keeps the teacher's logits, and the student's '{name}' reads its "
                    f"{' and '.join(more)} too; allowed: 0, or terms = '{name}=0'"
                )
        return CachedViews(self.memory, self.student_view, observer, views, classes)

    def _check_dense(self) -> None:
        real = isinstance(self.synthesizer, FixedImages)  # their labels are maps
        moves = getattr(self.student_view, "moves", True)
        if real and moves and (names := _needing_labels(self.student_losses)):
            raise RecipeError(
                f"the student's view moves images, and the classes of their pixels, which '{names[0]}' reads, stay; "
                "allowed: padding = 0 and flip = False, or student_view = 'identity'"
            )
        for name, each in self.all_losses().items():
            reads = needs_of(each.loss) - ({"labels"} if real else set())
            if each.weight and (what := next((text for need, text in OF_WHOLE_IMAGES.items() if need in reads), "")):
                raise RecipeError(
                    f"'{name}' reads {what}, and this teacher labels every pixel; leave it out with "
                    f"terms = '{name}=0', or choose a method without it"
                )

    def _check_labels(self) -> None:
        source, memory = self.synthesizer, self.memory
        read = {"written": source.labelled, "fresh": source.sample_labelled, "none": False}[memory.reads_labels]
        if not source.labelled and (names := _needing_labels(self.losses)):
            raise RecipeError(f"'{names[0]}' needs the target class, and {_name(source)} has none")
        if not read and (names := _needing_labels(self.student_losses)):
            raise RecipeError(
                f"the student's '{names[0]}' needs the target class, and the images that {_name(memory)} reads from "
                f"{_name(source)} have none"
            )


def _name(filling: Any) -> str:
    return type(filling).__name__


def _needing_labels(losses: Losses) -> list[str]:
    return [name for name, each in losses.items() if each.weight and "labels" in needs_of(each.loss)]


class Method(Protocol):
    """A frozen dataclass of settings that fills the slots.

    A method file says of its class besides: ``citation``, ``certainty`` and ``presets``; ``by_teacher`` what its paper
    gives for one teacher network; ``optimizer`` the student's, if it is not "sgd"; ``reads_real_images = True`` makes
    it a reference, which is not data-free; ``labels_pixels = True`` says that its paper has segmentation too;
    ``caveat`` says why it does not reach 90 % on digits.
    """

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots."""
        ...
