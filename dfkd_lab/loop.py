"""The one loop that every method runs in.

A :class:`Run` is an iterator of reports, one a round. It knows the six slots and nothing of files, data sets or
views; :mod:`dfkd_lab.runs` gives it a folder. Between two reports its whole state is in ``state_dict``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab import machine, measure
from dfkd_lab.compilation import compile_networks
from dfkd_lab.precision import Passes
from dfkd_lab.primitives.fold import folded
from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.momentum import MomentumSGD
from dfkd_lab.primitives.observe import Frozen, Observer
from dfkd_lab.primitives.tape import Tape, copied
from dfkd_lab.recipe import Lab, Method, Recipe, RecipeError, Schedule, Weighted, needs, tell, total
from dfkd_lab.report import Cost, Report
from dfkd_lab.stream import Stream
from dfkd_lab.tally import Tally

STUDENT_TAPE, SYNTHESIS_TAPE = 4, 20
"""Steps of a phase that are worth a tape. One that is recorded takes longer than by itself: of the student's the first,
of a synthesizer's, whose images and optimizer are new in each phase, the first three. Chosen, not tuned."""


class Diverged(RuntimeError):
    """A loss is not a number; the message names round and term."""


class Run:
    """``for report in Run(method, teacher, student, ...)``: a distillation, one round at a time.

    ``student`` makes a fresh student; ``images`` are real ones, for a reference recipe only; ``evaluate`` measures a
    student, every ``evaluate_every`` rounds and in the last one, or is None for a run without any data; ``poll`` is
    called before every step, and may block (pause) or raise (stop now). ``look`` is shown the composed run while it is
    still on the CPU, and may raise before anything moves. In ``precision`` "bf16" networks compute in bfloat16; losses
    and weights stay in 32 bits. With ``cache_views`` above 0 so many views of each stored image are kept with the
    teacher's logits. ``compile`` compiles the networks for the shapes of the steps. ``tape`` plays steps back
    (:class:`~dfkd_lab.primitives.tape.Tape`).
    """

    def __init__(
        self,
        method: Method,
        teacher: Frozen,
        student: Callable[[], nn.Module],
        *,
        shape: tuple[int, int, int],
        classes: int,
        rounds: int,
        seed: int,
        images: Batch | None = None,
        evaluate: Callable[[nn.Module], float] | None = None,
        evaluate_every: int = 1,
        poll: Callable[[], None] = lambda: None,
        look: Callable[[Run], None] = lambda run: None,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        cache_views: int = 0,
        compile: bool = False,
        tape: bool = False,
    ):
        if compile and tape:
            raise RecipeError("tape = True and compile = True: a tape sees nothing in what is compiled; choose one")
        self.device = torch.device(device)
        machine.keep_freed_memory()
        self.passes = Passes(self.device, precision)
        self.teacher, self.rounds, self.classes = teacher.cpu(), rounds, classes
        self.evaluate, self.evaluate_every, self.poll = evaluate, evaluate_every, poll
        self.round, self.cost, self.cache_views = 0, Cost(), cache_views
        self.stream = Stream(seed, self.device)
        with self.stream:
            self.student = student().cpu()
            self.observer = Observer(self.teacher, self.student, self.passes, folded(self.teacher, shape))
            self.recipe = method.compose(Lab(self.teacher, self.observer, shape, classes, rounds, images))
            self.recipe.check(batch_norms=bool(self.observer.norms))
        if cache_views:
            self.recipe.memory = self.recipe.caching(cache_views, self.observer, classes)
        tell({**self.recipe.terms, **self.recipe.student}, "bind", self.recipe.memory)
        self.optimizer = optimizer_of(self.student, self.recipe.schedule)
        self.synthesis_tape = Tape[Taken](self.device) if tape else None
        self.student_tape = Tape[Taken](self.device) if tape else None
        look(self)
        for module in (self.teacher, self.observer.oracle, self.student, *self.recipe.modules().values()):
            self.passes.prepare(module.to(self.device))
        if compile:
            compile_networks(self.observer, self.recipe)

    def __iter__(self) -> Iterator[Report]:
        while self.round < self.rounds:
            yield self.advance()

    def advance(self) -> Report:
        """Run one round.

        Raises:
            Diverged: if a loss is not a number; the run is then of no further use, its last checkpoint is.
        """
        synthesis, distillation = Tally(), Tally()
        schedule = self.recipe.schedule
        with self.stream:
            self.recipe.memory.open(self.round / self.rounds)
            for cycle in range(schedule.cycles):
                batch = self._synthesize(synthesis)
                if self.round >= schedule.warm_up:
                    batch = self._distil(distillation, cycle)
        self.cost.synthesis_s += synthesis.seconds
        self.cost.distillation_s += distillation.seconds
        return self._report(synthesis.means(), distillation.means(), batch)

    def _synthesize(self, tally: Tally) -> Batch:
        """One synthesis phase: the synthesizer improves its images, the memory keeps them."""
        recipe, steps = self.recipe, self.recipe.schedule.g_steps
        active = {name: row for name, row in recipe.terms.items() if self.round >= row.start and row.weight}
        step: Callable[[], Taken] = partial(self._synthesis_step, active, needs(active))
        if steps >= SYNTHESIS_TAPE:
            step = self._taped(step, self.synthesis_tape, recipe.synthesizer)
        self.student.train(recipe.schedule.student_mode == "train")
        tally.start(self.device)
        recipe.synthesizer.open()
        with frozen(self.student):
            for _ in range(steps):
                self.poll()
                tally.add(step().means)
        with self.passes:
            batch = recipe.synthesizer.close()
            tell(active, "commit", batch)
            recipe.memory.write(batch)
        self.cost.g_steps += steps
        self.cost.images += len(batch.images)
        tally.stop(self.device)
        return batch

    def _synthesis_step(self, active: dict[str, Weighted], wanted: frozenset[str]) -> Taken:
        """A step of the synthesizer; what changes are tensors of it and of the terms."""
        recipe, asked = self.recipe, self.observer.queries
        with self.passes:
            rendered = recipe.synthesizer.render()
        seen = self.observer(recipe.view(rendered.images), rendered.labels, wanted, graph=True)
        losses, means = total(active, seen)
        recipe.synthesizer.step(losses.mean(), seen)
        tell(active, "step")
        return Taken(means, self.observer.queries - asked)

    def _distil(self, tally: Tally, cycle: int) -> Batch:
        """One distillation phase: the student imitates the teacher on what the memory gives."""
        recipe, schedule = self.recipe, self.recipe.schedule
        active = {name: row for name, row in recipe.student.items() if row.weight}
        step: Callable[[], Taken] = partial(self._student_step, active, needs(active))
        if schedule.s_steps >= STUDENT_TAPE:
            step = self._taped(step, self.student_tape, recipe.memory)
        self.student.train()
        tally.start(self.device)
        for number in range(schedule.s_steps):
            self.poll()
            self._set_learning_rate(cycle * schedule.s_steps + number)
            taken = step()
            tally.add(taken.means)
            for weight, slope in zip(self.student.parameters(), taken.slopes, strict=True):
                weight.grad = slope
            if schedule.clip is not None:
                nn.utils.clip_grad_norm_(self.student.parameters(), schedule.clip)
            self.optimizer.step()
        self.cost.s_steps += schedule.s_steps
        tally.stop(self.device)
        assert taken.batch is not None
        return copied(taken.batch) if self.student_tape else taken.batch

    def _student_step(self, active: dict[str, Weighted], wanted: frozenset[str]) -> Taken:
        """A step of the student up to its gradients; what changes besides are tensors of the memory."""
        recipe, asked, drawn = self.recipe, self.observer.queries, self.cost.images
        with self.passes:
            batch = recipe.memory.read(recipe.schedule.batch, self._fresh)
        if batch.logits is None:
            seen = self.observer(recipe.student_view(batch.images), batch.labels, wanted)
        else:
            seen = self.observer.student_alone(batch.images, batch.labels, batch.logits)
        losses, means = total(active, seen)
        weights = list(self.student.parameters())
        for weight in weights:  # optimizer.zero_grad() first marks itself for a profiler, which takes far longer
            weight.grad = None
        (losses if batch.weights is None else losses * batch.weights).mean().backward()
        with self.passes:
            recipe.memory.feedback(batch, losses.detach())
        slopes = [weight.grad for weight in weights]
        return Taken(means, self.observer.queries - asked, self.cost.images - drawn, batch, slopes)

    def _taped(self, step: Callable[[], Taken], tape: Tape[Taken] | None, slot: Any) -> Callable[[], Taken]:
        """``step``, from ``tape`` if there is one and ``slot`` says what it goes by."""
        if tape is None or getattr(slot, "stage", None) is None:
            return step
        tape.begin(step)

        def taped() -> Taken:
            taken = tape(slot.stage)
            if tape.played:
                self.observer.queries += taken.queries
                self.cost.images += taken.images
            return taken

        return taped

    def _fresh(self, n: int) -> Batch:
        self.cost.images += n
        return self.recipe.synthesizer.sample(n)

    def _set_learning_rate(self, step: int) -> None:
        schedule = self.recipe.schedule
        per_round = schedule.cycles * schedule.s_steps
        done = (self.round - schedule.warm_up) * per_round + step
        share = done / max(1, (self.rounds - schedule.warm_up) * per_round)
        for group in self.optimizer.param_groups:
            group["lr"] = measure.cosine(share, schedule.s_lr, schedule.s_lr_floor)

    def _report(self, terms: dict[str, float], student: dict[str, float], batch: Batch) -> Report:
        broken = [name for name, value in {**terms, **student}.items() if value != value]
        if broken:
            raise Diverged(f"round {self.round + 1}: the loss '{broken[0]}' is not a number; lower its learning rate")
        images = batch.images[:256]
        if batch.logits is None:
            with self.stream:  # a view draws random numbers
                images = self.recipe.student_view(images)
        due = (self.round + 1) % self.evaluate_every == 0 or self.round + 1 == self.rounds
        with torch.compiler.set_stance("force_eager"):  # shapes and modes that no step has
            health, batch.predicted, batch.confidence = measure.health(self.observer, images)
            begun = time.perf_counter()
            accuracy = self.evaluate(self.student) if self.evaluate and due else None
        self.cost.evaluation_s += time.perf_counter() - begun
        self.cost.teacher_queries = self.observer.queries
        self.cost.peak_memory_bytes = machine.peak_memory(self.device)
        self.round += 1
        return Report(
            round=self.round,
            rounds=self.rounds,
            terms=terms,
            student=student,
            health=health,
            alarms=measure.alarms(health, {**terms, **student}, self.classes),
            accuracy=accuracy,
            s_lr=self.optimizer.param_groups[0]["lr"],
            cost=Cost(**vars(self.cost)),
            memory=self.recipe.memory.summary(self.classes),
            samples=batch,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on."""
        return {
            "round": self.round,
            "cost": asdict(self.cost),
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream": self.stream.state_dict(),
            "modules": {name: module.state_dict() for name, module in self.recipe.modules().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.round, self.cost = state["round"], Cost(**state["cost"])
        self.observer.queries = self.cost.teacher_queries
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stream.load_state_dict(state["stream"])
        for name, module in self.recipe.modules().items():
            module.load_state_dict(state["modules"][name])


@dataclass
class Taken:
    """What a step gives; one of the student gives the last two besides, for its optimizer."""

    means: dict[str, Tensor]
    """Of each term."""
    queries: int
    """Images that were shown to the teacher."""
    images: int = 0
    """Images that were drawn anew."""
    batch: Batch | None = None
    slopes: list[Tensor | None] = field(default_factory=list)
    """The gradient of each parameter of the student."""


class frozen:
    """``with frozen(student)``: no gradient reaches its parameters."""

    def __init__(self, module: nn.Module):
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def optimizer_of(student: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The student's optimizer."""
    if schedule.optimizer == "adam":
        return torch.optim.Adam(student.parameters(), lr=schedule.s_lr, weight_decay=schedule.weight_decay, fused=True)
    return MomentumSGD(
        student.parameters(), lr=schedule.s_lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )


__all__ = ["Diverged", "Recipe", "Run", "Stream"]
