"""Our loop beside the field's: ``python benchmarks/versus.py`` writes results/versus.json and prints a table.

Both train FastDFKD with the same settings and seed in turns, a round of each variant of ours, then one of
``reference_loop.py``, so that whatever else the machine does hits all. The reference has a process of its own, where
nothing is set as our library sets it: neither its memory nor how its threads wait. A round of ours is that of a
session, with its log, samples and checkpoints. Accuracy is measured after the last round, outside the time. What
results/versus.json holds is not measured again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from dfkd_lab.system.processes import GOMP_SPINCOUNT, tune_process

tune_process()  # before torch, as the command line does: it says how OpenMP's threads wait

import torch
import tyro
from benchmark import refused
from cifar import BUDGETS
from reference_loop import ReferenceLoop
from results_page import render
from rows import spread, table
from speed_page import VERSUS, versus_line
from torch import nn

from dfkd_lab import METHODS, RunSpec, Session, data, teachers
from dfkd_lab.engine.metrics import Accuracy
from dfkd_lab.engine.report import Report
from dfkd_lab.errors import SpecError
from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import check, unknown
from dfkd_lab.system.device import provenance
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.rng import RNGState

RESULTS = Path(__file__).parent / "results/versus.json"


@dataclass(frozen=True)
class Pair:
    """A teacher, its student, the data set that says preset, normalization and evaluation set, and other settings."""

    teacher: str
    student: str
    data: str
    settings: dict[str, Any] = field(default_factory=dict)


TEACHERS = Path(os.environ.get("DFKD_DATA", "."), "teachers")
SMALL = BUDGETS["cpu"]["fast"]
OWN_STEPS = {name: getattr(METHODS["fast"](), name) for name in ("g_steps", "s_steps")}
PAIRS = {
    "digits": Pair("digits", "convnet_8", "digits"),
    "resnet20:resnet8": Pair(str(TEACHERS / "cifar10_resnet20.pth"), "resnet8", "cifar10", {**SMALL, "rounds": 5}),
    "resnet56:resnet8": Pair(
        str(TEACHERS / "cifar10_resnet56.pth"), "resnet8", "cifar10", {**SMALL, **OWN_STEPS, "warm_up": 1, "rounds": 3}
    ),
}
"""The last one with as many steps a round as FastDFKD itself has."""
VARIANTS: dict[str, dict[str, Any]] = {"loop": {}, "cache_views = 4": {"cache_views": 4}}
"""What our loop is given beside the pair's settings; the reference never gets it."""
WORKERS = (0, 2)
SPINS = "300000"
"""How often OpenMP's threads look before they sleep where nobody says (libgomp's manual, GOMP_SPINCOUNT)."""
TRIAL_STEPS = 40
"""Student steps, at most, of a round that finds the better number of workers: enough to pay for starting them."""


def main(
    pairs: tuple[str, ...] = tuple(PAIRS),
    variants: tuple[str, ...] = tuple(VARIANTS),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> None:
    """Measure what has not been measured yet, seed by seed, and print the table of everything that has."""
    with refused():
        refuse_unknown("pair", pairs, PAIRS)
        refuse_unknown("variant", variants, VARIANTS)
        for seed in seeds:
            check(RunSpec, "seed", seed)
        speeds: dict[str, dict[int, float]] = {}
        for seed, pair in product(seeds, pairs):
            left = [variant for variant in variants if not is_measured(pair, variant, seed)]
            if not left:
                continue
            with process_of_its_own() as field:
                if pair not in speeds:
                    speeds[pair] = field.submit(reference_speeds, PAIRS[pair], WORKERS).result()
                requests = [VARIANTS[variant] for variant in left]
                for variant, run in zip(left, measure(PAIRS[pair], requests, seed, speeds[pair], field), strict=True):
                    keep(pair, variant, run)
    render()
    print(table(VERSUS, [versus_line(row) for row in load().values()]))


@contextmanager
def process_of_its_own() -> Iterator[ProcessPoolExecutor]:
    """A process in which OpenMP's threads wait as they do by themselves."""
    ours = os.environ.get("GOMP_SPINCOUNT", GOMP_SPINCOUNT)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as field:
        os.environ["GOMP_SPINCOUNT"] = SPINS
        field.submit(os.getpid).result()  # started
        os.environ["GOMP_SPINCOUNT"] = ours
        yield field


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
    given = {"teacher": pair.teacher, "student": pair.student, "normalization": pair.data, "preset": pair.data}
    run = {"method": "fast", "data": "none", "seed": seed, "device": "cpu"}
    return settled({**given, **pair.settings, **variant, **run})


def reference_of(pair: Pair, seed: int, workers: int, **changed: int) -> ReferenceLoop:
    """The reference loop on ``pair``, its student with the first weights of ours; ``changed`` are other settings."""
    spec = spec_of(pair, seed, {})
    teacher = teachers.load(spec.teacher, spec.normalization)  # of its own: no observer's hook is on it
    method = replace(METHODS["fast"](**spec.settings), **changed)
    with RNGState(seed, torch.device("cpu")):
        student = teachers.student_of(teacher.card, spec.student)
    shape, classes = teacher.card.shape, teacher.card.classes
    return ReferenceLoop(
        method, teacher.model, student, shape=shape, classes=classes, rounds=spec.rounds, seed=seed, workers=workers
    )


def reference_speeds(pair: Pair, workers: tuple[int, ...]) -> dict[int, float]:
    """Student images a second in the reference's distillation, by number of workers; the better of two rounds each."""
    s_steps = min(TRIAL_STEPS, spec_of(pair, 0, {}).settings["s_steps"])
    short = {"warm_up": 0, "g_steps": 1, "s_steps": s_steps}
    loops = {each: reference_of(pair, 0, each, **short) for each in workers}
    seconds: dict[int, list[float]] = {each: [] for each in workers}
    for _ in range(2):
        for each, loop in loops.items():
            before = loop.seconds["distillation"]
            loop.advance()
            seconds[each].append(loop.seconds["distillation"] - before)
    return {each: loop.student_images / 2 / min(seconds[each]) for each, loop in loops.items()}


def measure(
    pair: Pair, variants: list[dict[str, Any]], seed: int, speeds: dict[int, float], field: ProcessPoolExecutor
) -> list[dict[str, Any]]:
    """Train all variants and the reference in turns, the latter in the process ``field``; a row a variant.

    The reference has the fastest number of workers. All students are evaluated at the end.
    """
    workers = max(speeds, key=lambda each: speeds[each])
    field.submit(begin, pair, seed, workers, torch.get_num_threads()).result()
    specs = [spec_of(pair, seed, variant) for variant in variants]
    ours: list[list[Seconds]] = [[] for _ in variants]
    theirs: list[Seconds] = []
    with tempfile.TemporaryDirectory() as folder:
        sessions = [Session(replace(spec, out=f"{folder}/{number}")) for number, spec in enumerate(specs)]
        rounds = [iter(session) for session in sessions]
        for _ in range(specs[0].rounds):
            for each, spent in zip(rounds, ours, strict=True):
                spent.append(next_round(each))
            theirs.append(field.submit(advance).result())
        assert not [each for each in rounds if next(each, None)]  # asking lets the sessions finish
    split = data.evaluation_set(pair.data, sessions[0].teacher.card.shape)
    evaluate = Accuracy(split.images, split.labels)
    other = field.submit(finish).result()
    reference = {
        "accuracy": evaluate(other.student), **figures(other.student_images, theirs, other.seconds["distillation"])
    }  # fmt: skip
    rows = []
    for session, spec, spent in zip(sessions, specs, ours, strict=True):
        cost = session.run.cost
        mine = figures(cost.s_steps * spec.settings["batch"], spent, cost.distillation_s)
        rows.append({
            "seed": seed,
            "accuracy": evaluate(session.run.student),
            **mine,
            **{f"reference_{name}": value for name, value in reference.items()},
            "ratio": mine["images_per_s"] / reference["images_per_s"],
            "distillation_ratio": mine["distillation_images_per_s"] / reference["distillation_images_per_s"],
            "workers": workers,
            "images_per_s_by_workers": speeds,
            "cost": asdict(cost),
            "spec": {**asdict(spec), "teacher": Path(spec.teacher).name},
            "evaluation": {"name": pair.data, "n": len(split.labels)},
            **provenance(torch.device("cpu")),
        })  # fmt: skip
    return rows


def next_round(rounds: Iterator[Report]) -> Seconds:
    """What a round of ours takes."""
    return seconds_of(lambda: next(rounds))


LOOP: list[ReferenceLoop] = []
"""The reference, in its process."""


def begin(pair: Pair, seed: int, workers: int, threads: int) -> None:
    """Make the reference of this process."""
    torch.set_num_threads(threads)
    LOOP[:] = [reference_of(pair, seed, workers)]


def advance() -> Seconds:
    """What a round of it takes."""
    return seconds_of(LOOP[0].advance)


class Finished(NamedTuple):
    """What is left of the reference at the end."""

    student: nn.Module
    student_images: int
    seconds: dict[str, float]


def finish() -> Finished:
    """The student of this process' reference, and what teaching it took."""
    return Finished(LOOP[0].student, LOOP[0].student_images, LOOP[0].seconds)


class Seconds(NamedTuple):
    """How long something took, and what it took of the processor, its ended worker processes included."""

    wall: float
    cpu: float


def seconds_of(action: Callable[[], object]) -> Seconds:
    """What ``action`` takes."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    action()
    return Seconds(time.perf_counter() - start, sum(os.times()[:4]) - before)


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


def is_measured(pair: str, variant: str, seed: int) -> bool:
    """Whether the results have it."""
    return any(run["seed"] == seed for run in load().get(f"{pair}, {variant}", {}).get("runs", []))


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
