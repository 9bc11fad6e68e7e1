"""The six slots, and the bench a method composes at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from dfkd_lab.nets import Generator
from dfkd_lab.nets.generators import Output
from dfkd_lab.primitives.cache import CachedViews
from dfkd_lab.primitives.memory import Batch, ImageRing, Memory
from dfkd_lab.primitives.observe import FROM_OUTSIDE, Frozen, Observation, Observer
from dfkd_lab.primitives.synthesis import Synthesizer
from dfkd_lab.primitives.terms import Term, needs_of
from dfkd_lab.primitives.views import Identity, View
from dfkd_lab.spec import SpecError

READ_FROM_NORMS = frozenset({"statistics", "instance_means", "preactivations"})
"""Needs of a term that only a teacher with batch norm can meet."""


@dataclass(frozen=True)
class Weighted:
    """A term and its weight in the sum; it counts from round ``start`` on."""

    weight: float
    term: Term
    start: int = 0


def total(rows: dict[str, Weighted], seen: Observation) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of terms, per sample [N]; a scalar term counts for every sample. And the mean of each term."""
    parts, means = [], {}
    for name, row in rows.items():
        value = row.term(seen)
        means[name] = value.detach().float().mean()
        parts.append(value if row.weight == 1 else row.weight * value)
    return sum(parts[1:], parts[0]).expand(len(seen.images)), means


def tell(rows: dict[str, Weighted], event: str, *facts: Any) -> None:
    """Call ``event`` of the terms that have it (see :class:`~dfkd_lab.primitives.terms.Term`)."""
    for row in rows.values():
        if hear := getattr(row.term, event, None):
            hear(*facts)


def needs(rows: dict[str, Weighted]) -> frozenset[str]:
    """What these terms read beyond the teacher's logits."""
    return frozenset().union(*(needs_of(row.term) for row in rows.values()))


@dataclass(frozen=True)
class Schedule:
    """Who steps how often, and the student's optimizer.

    A round is ``cycles`` times (``g_steps`` steps of the synthesizer, then ``s_steps`` steps of the student). During
    the first ``warm_up`` rounds the student rests. The student's learning rate falls from ``s_lr`` to ``s_lr_floor``
    along a cosine that ends with the run.
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
    clip: float | None = None
    """The largest norm of the student's gradient."""
    student_mode: Literal["train", "eval"] = "eval"
    """How the student behaves while the synthesizer looks at it; "train" lets its batch norm see those batches."""


@dataclass
class Recipe:
    """One method, composed: what fills each slot. Names of terms are the names in the log."""

    synthesizer: Synthesizer
    terms: dict[str, Weighted]
    student: dict[str, Weighted]
    memory: Memory
    schedule: Schedule
    view: View = field(default_factory=Identity)
    """Applied to the images the synthesizer is trained on."""
    student_view: View = field(default_factory=Identity)
    """Applied to the images the student is trained on."""

    def modules(self) -> dict[str, Any]:
        """What has a state: the slots and the terms that own parameters or averages, by name."""
        owners = {f"term.{name}": row.term for name, row in {**self.terms, **self.student}.items()}
        stateful = {name: term for name, term in owners.items() if isinstance(term, nn.Module)}
        return {"synthesizer": self.synthesizer, "memory": self.memory, **stateful}

    def check(self, batch_norms: bool = True) -> None:
        """Refuse slots that do not fit together, or a teacher without ``batch_norms`` where a term reads them.

        Raises:
            RecipeError: with the reason and the cure.
        """
        synthesizer, memory = type(self.synthesizer).__name__, type(self.memory).__name__
        if self.schedule.g_steps and not any(row.weight and not row.start for row in self.terms.values()):
            raise RecipeError("no term of the synthesizer has a weight in the first round; give one a weight above 0")
        if not any(row.weight for row in self.student.values()):
            raise RecipeError("no term of the student has a weight; give one a weight above 0")
        if self.memory.draws and not self.synthesizer.can_sample:
            raise RecipeError(
                f"{memory} draws new images for every student step, and {synthesizer} has no source to draw from; "
                "choose a memory that keeps images"
            )
        labels = {"written": self.synthesizer.labelled, "fresh": self.synthesizer.sample_labelled, "none": False}
        if names := self._wanting_labels(self.terms) * (not self.synthesizer.labelled):
            raise RecipeError(f"'{names[0]}' needs the label that was asked for, and {synthesizer} asks for none")
        if names := self._wanting_labels(self.student) * (not labels[self.memory.reads_labels]):
            raise RecipeError(
                f"the student's '{names[0]}' needs the label that was asked for, and the images that {memory} reads "
                f"from {synthesizer} have none"
            )

        norms = {name: row for name, row in {**self.terms, **self.student}.items() if row.weight}
        if not batch_norms and (names := [name for name in norms if needs_of(norms[name].term) & READ_FROM_NORMS]):
            cure = ",".join(f"{name}=0" for name in names)
            raise RecipeError(
                f"'{names[0]}' reads the teacher's batch-norm layers, and this teacher has none (BatchNorm2d); "
                f"leave it out with terms = '{cure}', or choose a method without it"
            )

    def caching(self, views: int, observer: Observer, classes: int) -> CachedViews:
        """The memory, keeping ``views`` views of each image with the teacher's logits.

        Raises:
            RecipeError: if it keeps no images, or a term of the student reads more of the teacher than its logits.
        """
        if not (isinstance(self.memory, ImageRing) and self.memory.reads_images):
            raise RecipeError(
                f"cache_views = {views} keeps views of stored images, and {type(self.memory).__name__} stores none; "
                "allowed: 0, or a memory of images, as memory = 'ring'"
            )
        for name, row in self.student.items():
            if row.weight and (more := sorted(needs_of(row.term) - FROM_OUTSIDE)):
                raise RecipeError(
                    f"cache_views = {views} keeps the teacher's logits, and the student's '{name}' reads its "
                    f"{' and '.join(more)} too; allowed: 0, or terms = '{name}=0'"
                )
        return CachedViews(self.memory, self.student_view, observer, views, classes)

    @staticmethod
    def _wanting_labels(rows: dict[str, Weighted]) -> list[str]:
        return [name for name, row in rows.items() if row.weight and "labels" in needs_of(row.term)]


@dataclass(frozen=True)
class Lab:
    """What a method may know: the teacher, the shape of its images, and the length of the run. No data.

    A reference recipe alone is given ``images``, real ones with their labels; they may be uint8.
    """

    teacher: Frozen
    observer: Observer
    shape: tuple[int, int, int]
    classes: int
    rounds: int
    images: Batch | None = None

    @property
    def real(self) -> Batch:
        """The real images of a reference recipe.

        Raises:
            RecipeError: for any other method.
        """
        if self.images is None:
            raise RecipeError("there are no real images here; only a reference, declared as such, is given any")
        return self.images

    @property
    def mean(self) -> Tensor:
        """Per-channel mean [C, 1, 1] of the teacher's normalization."""
        return self.teacher.mean

    @property
    def std(self) -> Tensor:
        """Per-channel standard deviation [C, 1, 1] of the teacher's normalization."""
        return self.teacher.std

    def generator(
        self, z_dim: int, width: int, output: Output = "sigmoid", conditional: bool = False, **details: Any
    ) -> Generator:
        """A fresh generator of the teacher's images, or, ``conditional``, of images of the class asked for."""
        classes = self.classes if conditional else 0
        return Generator(z_dim, self.shape, width, output, self.mean.cpu(), self.std.cpu(), classes, **details)

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """The teacher's batch-norm layers; if it has none, :meth:`Recipe.check` refuses the terms that read them."""
        return self.observer.norms

    @property
    def heads(self) -> tuple[nn.Linear, nn.Linear]:
        """The last linear layer of teacher and student.

        Raises:
            RecipeError: if one has none.
        """
        teacher, student = self.observer.heads
        if teacher is None or student is None:
            who = "teacher" if teacher is None else "student"
            raise RecipeError(f"this method reads the classifier's weights, and the {who} has no linear layer")
        return teacher, student

    @property
    def stages(self) -> int:
        """The number of stages of teacher and student.

        Raises:
            RecipeError: if one has none that can be found, or they have different numbers of them.
        """
        counts = {"teacher": len(self.observer.stages), "student": len(self.observer.student_stages)}
        for who, count in counts.items():
            if not count:
                raise RecipeError(f"this method compares stage maps, and the {who} has neither 'stages' nor 'layer1'")
        if counts["teacher"] != counts["student"]:
            raise RecipeError(
                f"this method compares stage maps, and the teacher has {counts['teacher']} stages, "
                f"the student {counts['student']}"
            )
        return counts["teacher"]


class RecipeError(SpecError):
    """Slots that do not fit together, with the reason."""


class Method(Protocol):
    """A frozen dataclass of knobs that fills the slots.

    A method file says of its class besides: ``citation``, ``certainty`` and ``presets``; ``reads_real_images = True``
    makes it a reference recipe, which is not data-free; ``caveat`` says why it does not reach 90 % on digits.
    """

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots."""
        ...
