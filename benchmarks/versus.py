"""Our loop beside the field's: ``python benchmarks/versus.py`` writes results/versus.json and prints a table.

Both train FastDFKD with the same settings and seed in one process, a round of ours, then one of ``reference_loop.py``,
so that whatever else the machine does hits both. A round of ours is that of a session, with its log, samples and
checkpoints. Accuracy is measured after the last round, outside the time. What results/versus.json holds is not measured
again.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro
from cifar import BUDGETS, render
from reference_loop import ReferenceLoop
from rows import spread, table
from speed_page import VERSUS, versus_line

from dfkd_lab import METHODS, RunSpec, Session, data, machine, plan, teachers
from dfkd_lab.measure import Accuracy
from dfkd_lab.runs import write_atomically
from dfkd_lab.spec import SpecError, unknown
from dfkd_lab.stream import Stream

RESULTS = Path(__file__).parent / "results/versus.json"


@dataclass(frozen=True)
class Pair:
    """A teacher, its student, the data set that says preset, normalization and evaluation set, and other settings."""

    teacher: str
    student: str
    data: str
    settings: dict[str, Any] = field(default_factory=dict)


CIFAR_TEACHER = Path(os.environ.get("DFKD_DATA", "."), "teachers/cifar10_resnet20.pth")
PAIRS = {
    "digits": Pair("digits", "convnet_8", "digits"),
    "resnet20:resnet8": Pair(str(CIFAR_TEACHER), "resnet8", "cifar10", {**BUDGETS["cpu"]["fast"], "rounds": 5}),
}
VARIANTS: dict[str, dict[str, Any]] = {"loop": {}, "cache_views = 4": {"cache_views": 4}}
"""What our loop is given beside the pair's settings; the reference never gets it."""
WORKERS = (0, 2)
TRIAL_STEPS = 40
"""Student steps, at most, of a round that finds the better number of workers: enough to pay for starting them."""


def main(
    pairs: tuple[str, ...] = tuple(PAIRS),
    variants: tuple[str, ...] = tuple(VARIANTS),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> None:
    """Measure what has not been measured yet, seed by seed, and print the table of everything that has."""
    try:
        refuse_unknown("pair", pairs, PAIRS)
        refuse_unknown("variant", variants, VARIANTS)
        speeds: dict[str, dict[int, float]] = {}
        for seed, pair, variant in product(seeds, pairs, variants):
            if any(run["seed"] == seed for run in load().get(f"{pair}, {variant}", {}).get("runs", [])):
                continue
            if pair not in speeds:
                speeds[pair] = reference_speeds(PAIRS[pair])
            keep(pair, variant, measure(PAIRS[pair], VARIANTS[variant], seed, speeds[pair]))
    except SpecError as error:
        sys.exit(str(error))
    render()
    print(table(VERSUS, [versus_line(row) for row in load().values()]))


def refuse_unknown(what: str, names: tuple[str, ...], known: dict[str, Any]) -> None:
    """Refuse a name that is not ``known``.

    Raises:
        SpecError: with the nearest one.
    """
    for name in names:
        if name not in known:
            raise SpecError(f"{what}s: {unknown(name, known, what)}")


def spec_of(pair: Pair, seed: int, variant: dict[str, Any]) -> RunSpec:
    """A run of FastDFKD on ``pair``, without evaluation set: it is evaluated here, outside the time."""
    run = {"teacher": pair.teacher, "student": pair.student, "normalization": pair.data, "preset": pair.data}
    wishes = {**pair.settings, **variant}
    return plan(wishes, method="fast", **run, data="none", seed=seed, device="cpu")


def reference_of(pair: Pair, seed: int, workers: int, **changed: int) -> ReferenceLoop:
    """The reference loop on ``pair``, its student with the first weights of ours; ``changed`` are other settings."""
    spec = spec_of(pair, seed, {})
    teacher = teachers.load(spec.teacher, spec.normalization)  # of its own: no observer's hook is on it
    method = replace(METHODS["fast"](**spec.settings), **changed)
    with Stream(seed, torch.device("cpu")):
        student = teachers.student_of(teacher.card, spec.student)
    shape, classes = teacher.card.shape, teacher.card.classes
    return ReferenceLoop(
        method, teacher.model, student, shape=shape, classes=classes, rounds=spec.rounds, seed=seed, workers=workers
    )


def reference_speeds(pair: Pair) -> dict[int, float]:
    """Student images a second in the reference's distillation, by number of workers; the better of two rounds each."""
    s_steps = min(TRIAL_STEPS, spec_of(pair, 0, {}).settings["s_steps"])
    short = {"warm_up": 0, "g_steps": 1, "s_steps": s_steps}
    loops = {workers: reference_of(pair, 0, workers, **short) for workers in WORKERS}
    seconds: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for _ in range(2):
        for workers, loop in loops.items():
            before = loop.seconds["distillation"]
            loop.advance()
            seconds[workers].append(loop.seconds["distillation"] - before)
    return {workers: loop.student_images / 2 / min(seconds[workers]) for workers, loop in loops.items()}


def measure(pair: Pair, variant: dict[str, Any], seed: int, speeds: dict[int, float]) -> dict[str, Any]:
    """Train both side by side, the reference with the fastest number of workers, and evaluate both students."""
    workers = max(speeds, key=lambda each: speeds[each])
    reference, spec = reference_of(pair, seed, workers), spec_of(pair, seed, variant)
    seconds: list[Seconds] = []
    reference_seconds: list[Seconds] = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(replace(spec, out=folder))
        rounds = iter(session)
        for _ in range(spec.rounds):
            seconds.append(seconds_of(lambda: next(rounds)))
            reference_seconds.append(seconds_of(reference.advance))
        assert next(rounds, None) is None  # asking lets the session finish
    split = data.evaluation_set(pair.data, session.teacher.card.shape)
    evaluate = Accuracy(split.images, split.labels)
    cost = session.run.cost
    ours = figures(cost.s_steps * spec.settings["batch"], seconds, cost.distillation_s)
    theirs = figures(reference.student_images, reference_seconds, reference.seconds["distillation"])
    return {
        "seed": seed,
        "accuracy": evaluate(session.run.student),
        **ours,
        **{f"reference_{name}": value for name, value in {"accuracy": evaluate(reference.student), **theirs}.items()},
        "ratio": ours["images_per_s"] / theirs["images_per_s"],
        "distillation_ratio": ours["distillation_images_per_s"] / theirs["distillation_images_per_s"],
        "workers": workers,
        "images_per_s_by_workers": speeds,
        "cost": asdict(cost),
        "spec": {**asdict(spec), "teacher": Path(spec.teacher).name},
        "evaluation": {"name": pair.data, "n": len(split.labels)},
        **machine.provenance(torch.device("cpu")),
    }


class Seconds(NamedTuple):
    """How long something took, and what it took of the processor, its ended worker processes included."""

    wall: float
    cpu: float


def seconds_of(action: Callable[[], object]) -> Seconds:
    """What ``action`` takes."""
    begun, before = time.perf_counter(), sum(os.times()[:4])
    action()
    return Seconds(time.perf_counter() - begun, sum(os.times()[:4]) - before)


def figures(images: int, rounds: list[Seconds], distillation_s: float) -> dict[str, Any]:
    """Student images a second, of all seconds and of the distillation's.

    Each round's seconds and the processor's tell who was disturbed by whatever else the machine did.
    """
    seconds = sum(each.wall for each in rounds)
    return {
        "student_images": images,
        "round_s": [each.wall for each in rounds],
        "seconds": seconds,
        "cpu_s": sum(each.cpu for each in rounds),
        "distillation_s": distillation_s,
        "images_per_s": images / seconds,
        "distillation_images_per_s": images / distillation_s,
    }


FIGURES = ("accuracy", "images_per_s", "distillation_images_per_s")
SPREADS = (*FIGURES, *(f"reference_{name}" for name in FIGURES), "ratio", "distillation_ratio")


def load() -> dict[str, dict[str, Any]]:
    """The results so far, by "pair, variant"."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(pair: str, variant: str, run: dict[str, Any]) -> None:
    """Put a run into the results, with mean and spread over the seeds."""
    found, name = load(), f"{pair}, {variant}"
    runs = sorted([*found.get(name, {}).get("runs", []), run], key=lambda each: each["seed"])
    row = {"pair": pair, "variant": variant, "n": len(runs), **{each: spread(runs, each) for each in SPREADS}}
    write_atomically(RESULTS, (json.dumps({**found, name: {**row, "runs": runs}}, indent=1) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main)
