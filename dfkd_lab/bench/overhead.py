"""The loop beside the bare passes of its networks."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dfkd_lab import methods, nets
from dfkd_lab.engine import compilation
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.meter import Meter
from dfkd_lab.engine.optimization import frozen
from dfkd_lab.engine.recipe import Schedule, needs_of_all
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.observer import NEEDS_STUDENT
from dfkd_lab.spec import build, settings_of

MOST_STEPS = 20
"""Student steps of a measured round, at most; what a whole round takes follows from the steps."""


@dataclass(frozen=True)
class Pair:
    """Two networks with random weights, and the images they see: a speed needs no data."""

    teacher: str
    student: str
    shape: tuple[int, int, int]
    presets: tuple[str, ...]
    """Families of settings that suit the images, likeliest first."""
    classes: int = 10

    @property
    def is_digits(self) -> bool:
        """Whether the images are as small as digits, and the settings with them."""
        return "digits" in self.presets

    @classmethod
    def of(cls, name: str) -> Pair:
        """Either "digits", or TEACHER:STUDENT on images like CIFAR-10's with the presets for them.

        Raises:
            SpecError: if ``name`` is neither.
        """
        if name == "digits":
            return cls("convnet_32", "convnet_8", (1, 16, 16), ("digits",))
        teacher, colon, student = name.partition(":")
        if not colon:
            raise SpecError(f"pairs = '{name}' is no pair; allowed: digits, or TEACHER:STUDENT as in resnet20:resnet8")
        nets.check(teacher)
        nets.check(student)
        return cls(teacher, student, (3, 32, 32), ("cifar10", "cifar"))

    def run(self, method: str, settings: dict[str, Any], *, compile: bool = False, **more: Any) -> Run:
        """A run of ``method`` with its preset, and those of ``settings`` that it has; ``more`` is ``ComposedRun``'s."""
        class_ = methods.find(method)
        preset = class_.presets[methods.suiting_preset(class_, self.presets)]
        base = methods.own_settings(preset)
        known = {name: value for name, value in settings.items() if name in settings_of(class_)}
        scale = [0.5] * self.shape[0], [0.25] * self.shape[0]
        composed = ComposedRun.of(
            build(class_, {**base, **known}),
            Frozen(nets.classifier(self.teacher, self.shape[0], self.classes), *scale),
            lambda: Classifier(nets.classifier(self.student, self.shape[0], self.classes), *scale),
            shape=self.shape,
            classes=self.classes,
            rounds=1_000_000,
            seed=0,
            **more,
        )
        return Run(composed, compile=compile)


class Bare:
    """The passes of a run's networks that no loop can avoid: no view, no loss, no memory, no optimizer.

    ``run`` makes one round first, so that its memory holds images.
    """

    def __init__(self, run: Run):
        self.run, self.recipe = run, run.recipe
        self.needs = needs_of_all({name: each for name, each in run.recipe.losses.items() if each.weight})
        run.advance()
        with run.rng, run.autocast:
            run.recipe.synthesizer.open()
            self.images = run.recipe.memory.read(run.recipe.schedule.batch, run.recipe.synthesizer.sample).images

    def synthesis_step(self) -> None:
        """Generator, teacher, and the student if a loss needs it; forward and backward."""
        run, synthesizer = self.run, self.recipe.synthesizer
        self._step_begins()
        for optimizer in vars(synthesizer).values():
            if isinstance(optimizer, torch.optim.Optimizer):
                optimizer.zero_grad()  # a gradient of the last turn may lie in a graph's memory
        with frozen(run.student):
            with run.autocast:
                images = self.recipe.synthesizer.render().images
                loss = run.teacher(images).sum()
                if self.needs & NEEDS_STUDENT:
                    loss = loss + run.student(images).sum()
            loss.backward()

    def student_step(self) -> None:
        """Student, forward and backward; teacher unless its answers are kept; generator where images are drawn anew."""
        run, memory = self.run, self.recipe.memory
        self._step_begins()
        with run.autocast:
            if memory.draws:
                self.recipe.synthesizer.sample(self.recipe.schedule.batch)
            if not run.cache_views:
                with torch.no_grad():
                    run.observer.folded_teacher(self.images)
            loss = run.student(self.images).sum()
        run.student.zero_grad()
        loss.backward()

    def _step_begins(self) -> None:
        if self.run.compiled:
            compilation.step_begins()


def measure_overhead(
    pair: Pair, method: str, settings: dict[str, Any], repeats: int, least_s: float = 0.0, **more: Any
) -> dict[str, Any]:
    """Loop and bare passes of one method, in turns: seconds a round, images a second, overhead with its range.

    There are at least ``repeats`` turns, and as many as fit into ``least_s`` seconds.
    """
    with compilation.many_shapes():  # the bare passes are no part of a run
        return _measured_in_turns(pair, method, settings, repeats, least_s, **more)


def _measured_in_turns(
    pair: Pair, method: str, settings: dict[str, Any], repeats: int, least_s: float, **more: Any
) -> dict[str, Any]:
    run, other = (pair.run(method, settings, **more) for _ in range(2))
    whole = run.recipe.schedule
    run.recipe.schedule = other.recipe.schedule = shortened(whole)
    run.round = other.round = max(each.start for each in run.recipe.losses.values())  # when all losses have begun
    bare = Bare(other)
    run.advance()
    rows: list[tuple[float, float, float]] = []
    start = time.perf_counter()
    while len(rows) < repeats or time.perf_counter() - start < least_s:
        rows.append(_measured(run, bare, whole))
    loops, bares, steps = zip(*rows, strict=True)
    ratios = [loop / autocast for loop, autocast in zip(loops, bares, strict=True)]
    seconds = statistics.median(loops)
    return {
        "n": len(rows),
        "overhead": statistics.median(ratios),
        "overhead_range": [min(ratios), max(ratios)],
        "loop_s": seconds,
        "bare_s": statistics.median(bares),
        "student_images_per_s": whole.cycles * whole.s_steps * whole.batch / seconds,
        "student_images_per_s_of_distillation": whole.batch / statistics.median(steps),
        "slots_s": slots(run, whole),
    }


def shortened(whole: Schedule) -> Schedule:
    """A round with the same steps, but fewer of them."""
    return dataclasses.replace(whole, cycles=1, warm_up=0, s_steps=min(MOST_STEPS, whole.s_steps))


def _measured(run: Run, bare: Bare, whole: Schedule) -> tuple[float, float, float]:
    """Seconds of a whole round of the loop, of its bare passes, and of one student step of the loop."""
    short, before = run.recipe.schedule, dataclasses.replace(run.cost)
    round_ = seconds(run.advance, 1, run.device)
    synthesis = run.cost.synthesis_s - before.synthesis_s
    distillation = run.cost.distillation_s - before.distillation_s
    report = round_ - synthesis - distillation
    loop = in_whole(whole, synthesis / max(1, short.g_steps), distillation / short.s_steps) + report
    synthesis = seconds(bare.synthesis_step, short.g_steps, run.device) if short.g_steps else 0.0
    autocast = in_whole(whole, synthesis, seconds(bare.student_step, short.s_steps, run.device))
    return loop, autocast, distillation / short.s_steps


def in_whole(whole: Schedule, synthesis_step: float, student_step: float) -> float:
    """Seconds of all steps of a round."""
    return whole.cycles * (whole.g_steps * synthesis_step + whole.s_steps * student_step)


def seconds(call: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds of one call, the mean over ``times``."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / times


def synchronize(device: torch.device) -> None:
    """Wait for the device, where there is something to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch:
    """Seconds by name, each without what it calls under another name."""

    def __init__(self, device: torch.device):
        self.device, self._inside = device, 0.0
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        """Count what ``owner.attribute`` takes from now on."""
        call = getattr(owner, attribute)

        def watched(*arguments: Any, **named: Any) -> Any:
            outside, self._inside = self._inside, 0.0
            synchronize(self.device)
            start = time.perf_counter()
            result = call(*arguments, **named)
            synchronize(self.device)
            spent = time.perf_counter() - start
            self.seconds[name] += spent - self._inside
            self._inside = outside + spent
            return result

        setattr(owner, attribute, watched)


def slots(run: Run, whole: Schedule) -> dict[str, float]:
    """Seconds of a whole round by slot, of networks forward only: the backward passes are in the two steps.

    Not compiled. ``run`` is of no further use.
    """
    recipe, short, watch = run.recipe, run.recipe.schedule, Stopwatch(run.device)
    for owner, attribute, name in (
        (recipe.synthesizer, "render", "generator"),
        (recipe.synthesizer, "sample", "generator"),
        (recipe.synthesizer, "step", "synthesis step"),
        (recipe, "view", "views"),
        (recipe, "student_view", "views"),
        *((network, "forward", "teacher") for network in dict.fromkeys((run.teacher, run.observer.folded_teacher))),
        (run.student, "forward", "student"),
        (recipe.memory, "read", "memory"),
        (recipe.memory, "write", "memory"),
        (recipe.memory, "feedback", "memory"),
        (run, "_synthesize", "synthesis, other"),
        (run, "_distil", "student step, and other"),
    ):
        watch.watch(owner, attribute, name)
    result: dict[str, float] = defaultdict(float)
    for advance, times in (
        (lambda: run._synthesize(Meter(), short.g_steps), whole.cycles * whole.g_steps / max(1, short.g_steps)),
        (lambda: run._distil(Meter(), 0, short.s_steps), whole.cycles * whole.s_steps / short.s_steps),
    ):
        watch.seconds.clear()
        with run.rng, torch.compiler.set_stance("force_eager"):
            advance()
        for name, spent in watch.seconds.items():
            result[name] += spent * times
    return dict(result)
