"""The one loop that every method runs in.

A :class:`Run` is an iterator of reports, one a round. It knows the six slots and nothing of files, data sets or
views; :mod:`dfkd_lab.runs` gives it a folder. Between two reports its whole state is in ``state_dict``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from dfkd_lab.engine import compilation, metrics
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.meter import Meter
from dfkd_lab.engine.optimization import frozen, keep_counters_on_host, student_optimizer
from dfkd_lab.engine.recipe import Losses, call_hooks, needs_of_all, weighted_sum
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.engine.schedules import learning_rate
from dfkd_lab.engine.segmentation import Segmentation
from dfkd_lab.nets.wrap import folded
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.system.device import peak_memory


class Diverged(RuntimeError):
    """A loss is not a number; the message names round and loss."""


class Run:
    """``for report in Run(composed)``: a distillation, one round at a time.

    Args:
        composed: The method with its networks; it is this run's from now on, and moves to the run's device.
        evaluate: Measures a student, every ``evaluate_every`` rounds and in the last one, and may say what it measures
            (:class:`~dfkd_lab.engine.metrics.Evaluation`); None for a run without data.
        evaluate_every: In rounds.
        on_step: Called before every step; it may raise (stop now) or block (pause), and gives the seconds of a pause.
        compile: Whether to compile the networks, for the shapes of the steps.
    """

    def __init__(
        self,
        composed: ComposedRun,
        *,
        evaluate: Callable[[nn.Module], float] | None = None,
        evaluate_every: int = 1,
        on_step: Callable[[], float] = lambda: 0.0,
        compile: bool = False,
    ):
        self.device, self.autocast, self.rng = composed.device, composed.autocast, composed.rng
        self.teacher, self.student = composed.teacher, composed.student
        self.observer, self.recipe = composed.observer, composed.recipe
        self.rounds, self.classes, self.cache_views = composed.rounds, composed.classes, composed.cache_views
        self.evaluate, self.evaluate_every, self.on_step = evaluate, evaluate_every, on_step
        self.round, self.cost, self.shape = 0, Cost(), composed.shape
        self.observer.folded_teacher = folded(self.teacher, composed.shape)
        self.optimizer = student_optimizer(self.student, self.recipe.schedule)
        # after the optimizer: parameters move in place, and it goes on holding them
        modules = (self.teacher, self.observer.folded_teacher, self.student, *self.recipe.modules().values())
        for module in modules:
            self.autocast.prepare(module.to(self.device), composed.shape)
        if not compile and self.observer.folded_teacher is not self.teacher:
            self.autocast.fuse(self.observer.folded_teacher, composed.shape)
        self.compiled = compilation.compile_networks(self.observer, self.recipe, self.device) if compile else {}
        """Of each network "compiled", or why it is not; empty if none was to be."""
        for module in () if compile else modules:
            keep_counters_on_host(module)
        self._rehearsed = False

    def __iter__(self) -> Iterator[Report]:
        while self.round < self.rounds:
            yield self.advance()

    def advance(self) -> Report:
        """Run one round.

        Raises:
            Diverged: if a loss is not a number; the run is then of no further use, its last checkpoint is.
        """
        synthesis, distillation = Meter(), Meter()
        schedule = self.recipe.schedule
        with self.rng, self._compiling():
            self.recipe.memory.open(self.round / self.rounds)
            for cycle in range(schedule.cycles):
                batch = self._synthesize(synthesis, schedule.g_steps)
                if self.round >= schedule.warm_up:
                    batch = self._distil(distillation, cycle, schedule.s_steps)
        self.cost.synthesis_s += synthesis.seconds
        self.cost.distillation_s += distillation.seconds
        return self._report(synthesis.means(), distillation.means(), batch)

    def rehearse(self) -> None:
        """Take every kind of step that the run will take, and be as before: what is compiled is compiled here.

        For a compiled run, before a seal closes: a compiler starts processes and writes files. Afterwards nothing is
        compiled any more; a shape that was not met here runs as it is.
        """
        # beside the device, whose memory may be just enough for the run
        before = tree_map_only(Tensor, lambda tensor: tensor.detach().to("cpu", copy=True), self.state_dict())
        schedule = self.recipe.schedule
        starts = {each.start for each in self.recipe.losses.values() if each.weight}
        try:
            with self.rng, self._compiling():
                # the second time a memory has a past, and some read another number of images then
                for round in (*sorted(starts | {0, schedule.warm_up}), schedule.warm_up):
                    self.round = round
                    self.recipe.memory.open(0.0)
                    self._synthesize(Meter(), min(2, schedule.g_steps))
                    if self.round >= schedule.warm_up:
                        self._distil(Meter(), 0, min(2, schedule.s_steps))
        finally:
            self.load_state_dict(before)
        self._rehearsed = True

    def leave_uncompiled(self) -> None:
        """Go on without what was to be compiled."""
        compilation.leave_out(self.observer, self.recipe)
        self.compiled = {}
        torch.compiler.reset()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _compiling(self) -> Iterator[None]:
        """What is compiled may be so for many shapes; once rehearsed, for no others."""
        stance = torch.compiler.set_stance("eager_on_recompile") if self._rehearsed else nullcontext()
        with compilation.many_shapes() if self.compiled else nullcontext(), stance:
            yield

    def _synthesize(self, meter: Meter, steps: int) -> Batch:
        """One synthesis phase: the synthesizer improves its images, the memory keeps them."""
        recipe = self.recipe
        active = {name: each for name, each in recipe.losses.items() if self.round >= each.start and each.weight}
        needs = needs_of_all(active)
        # methods disagree whether the student's batch norms may see images that are not finished
        self.student.train(recipe.schedule.student_mode == "train")
        meter.start(self.device)
        recipe.synthesizer.open()
        with frozen(self.student):  # the synthesizer's gradient passes it, and shall leave none there
            for _ in range(steps):
                meter.paused += self.on_step()
                meter.add(self._synthesis_step(active, needs))
        with self.autocast:
            batch = recipe.synthesizer.close()
            if self.compiled:  # a graph's output is overwritten by the next step, and a memory may hold it for long
                batch = replace(batch, images=batch.images.clone())
            call_hooks(active, "commit", batch)
            recipe.memory.write(batch)
        self.cost.g_steps += steps
        self.cost.images += len(batch.images)
        meter.stop(self.device)
        return batch

    def _synthesis_step(self, losses: Losses, needs: frozenset[str]) -> dict[str, Tensor]:
        """A step of the synthesizer; the mean of each loss."""
        recipe = self.recipe
        self._step_begins()
        with self.autocast:
            rendered = recipe.synthesizer.render()
        observation = self.observer(recipe.view(rendered.images), rendered.labels, needs, graph=True)
        loss, means = weighted_sum(losses, observation)
        recipe.synthesizer.step(loss.mean(), observation)
        call_hooks(losses, "step")  # after it: a loss that learns uses the gradient that step left behind
        return means

    def _distil(self, meter: Meter, cycle: int, steps: int) -> Batch:
        """One distillation phase: the student imitates the teacher on what the memory gives."""
        recipe, schedule = self.recipe, self.recipe.schedule
        active = {name: each for name, each in recipe.student_losses.items() if each.weight}
        needs = needs_of_all(active)
        self.student.train()
        meter.start(self.device)
        for number in range(steps):
            meter.paused += self.on_step()
            self._set_learning_rate(cycle * schedule.s_steps + number)
            output = self._student_step(active, needs)
            meter.add(output.means)
        self.cost.s_steps += steps
        meter.stop(self.device)
        batch = output.batch
        return replace(batch, images=batch.images.clone()) if self.compiled else batch  # as in a synthesis phase

    def _student_step(self, losses: Losses, needs: frozenset[str]) -> StepOutput:
        """A step of the student."""
        recipe, schedule = self.recipe, self.recipe.schedule
        self._step_begins()
        with self.autocast:
            batch = recipe.memory.read(schedule.batch, self._draw)
        if batch.logits is None:
            observation = self.observer(recipe.student_view(batch.images), batch.labels, needs)
        else:
            observation = self.observer.student_alone(batch.images, batch.labels, batch.logits)
        loss, means = weighted_sum(losses, observation)
        for weight in self.student.parameters():  # zero_grad() announces itself to a profiler, which takes far longer
            weight.grad = None
        # importance weights correct the gradient; what the log and the memory hear is the plain loss
        (loss if batch.weights is None else loss * batch.weights).mean().backward()
        with self.autocast:
            recipe.memory.feedback(batch, loss.detach())
        if schedule.clip is not None:
            nn.utils.clip_grad_norm_(self.student.parameters(), schedule.clip)
        self.optimizer.step()
        return StepOutput(means, batch)

    def _step_begins(self) -> None:
        if self.compiled:
            compilation.step_begins()

    def _draw(self, n: int) -> Batch:
        self.cost.images += n
        return self.recipe.synthesizer.sample(n)

    def _set_learning_rate(self, step: int) -> None:
        schedule = self.recipe.schedule
        per_round = schedule.cycles * schedule.s_steps
        done = (self.round - schedule.warm_up) * per_round + step
        share = done / max(1, (self.rounds - schedule.warm_up) * per_round)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(share, schedule.s_lr, schedule.s_lr_floor, schedule.milestones)

    def _report(self, losses: dict[str, float], student: dict[str, float], batch: Batch) -> Report:
        broken = [name for name, value in {**losses, **student}.items() if value != value]
        if broken:  # once a round, because to look at every step would wait for the device
            raise Diverged(f"round {self.round + 1}: the loss '{broken[0]}' is not a number; lower its learning rate")
        images = viewed = batch.images[:256]  # enough for the health signals, and hardly any cost
        if batch.logits is None:
            with self.rng:  # a view draws random numbers
                viewed = self.recipe.student_view(images)
        due = (self.round + 1) % self.evaluate_every == 0 or self.round + 1 == self.rounds
        with torch.compiler.set_stance("force_eager"):  # shapes and modes that no step has
            health, seen = metrics.health(self.observer, viewed)
            as_shown = seen if viewed is images else metrics.look(self.observer, images, seen.student is not None)
            batch.predicted, batch.confidence = as_shown.predicted, as_shown.confidence
            start = time.perf_counter()
            accuracy = self.evaluate(self.student) if self.evaluate and due else None
        self.cost.evaluation_s += time.perf_counter() - start
        self.cost.teacher_queries = self.observer.queries
        self.cost.peak_memory_bytes = peak_memory(self.device)
        self.round += 1
        return Report(
            round=self.round,
            rounds=self.rounds,
            terms=losses,
            student=student,
            health=health,
            alarms=metrics.alarms(health, {**losses, **student}, self.classes, seen, trained=bool(student)),
            accuracy=accuracy,
            s_lr=self.optimizer.param_groups[0]["lr"],
            cost=Cost(**vars(self.cost)),
            memory=self.recipe.memory.summary(self.classes),
            samples=batch,
            seen=as_shown,
            metric=getattr(self.evaluate, "metric", (Segmentation if seen.shares else metrics.Accuracy).metric),
            details=getattr(self.evaluate, "details", {}) if due else {},
            shares={"teacher": seen.shares, "student": seen.student_shares} if seen.shares else {},
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on."""
        return {
            "round": self.round,
            "cost": asdict(self.cost),
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream": self.rng.state_dict(),
            "modules": {name: module.state_dict() for name, module in self.recipe.modules().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.round, self.cost = state["round"], Cost(**state["cost"])
        self.observer.queries = self.cost.teacher_queries
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["fused"] = True  # how it steps is this version's business, not the checkpoint's
        self.rng.load_state_dict(state["stream"])
        for name, module in self.recipe.modules().items():
            module.load_state_dict(state["modules"][name])


@dataclass
class StepOutput:
    """What a step of the student gives: the mean of each loss, and the batch it was made on."""

    means: dict[str, Tensor]
    batch: Batch = field(repr=False)
