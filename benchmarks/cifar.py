"""Real teachers on CIFAR: ``python benchmarks/cifar.py`` writes results/cifar.json and RESULTS.md.

A row is a pair, a data set, a budget and a method; a run of it is one run folder a seed, below ``--out``. Runs go on
where they were stopped, here or wherever their folders are brought; a finished one is read, not run again, and what
results/cifar.json already holds is kept. ``--minutes`` ends after that time, saved. ``--next`` does the next unfinished
part of ``PLANNED`` that this machine is for, training the teacher first if there is none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speed_page

import dfkd_lab  # isort: skip  # noqa: F401  # before torch, as a user's: it says how OpenMP's threads wait
import torch
import tyro
from rows import folder_of, is_finished, measure, spread, table

from dfkd_lab import METHODS, RunFolder, machine, methods, plan, teachers
from dfkd_lab.spec import SpecError, unknown
from dfkd_lab.train import TeacherSpec, TeacherTraining, finished

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/cifar.json"
SMALL = {"width": 16, "batch": 128}
META = {**SMALL, "rounds": 24, "warm_up": 2, "g_steps": 10, "s_steps": 100}
BUDGETS: dict[str, dict[str, dict[str, Any]]] = {
    # About half an hour of one CPU core: a narrow generator, and far fewer steps than the papers'.
    "cpu": {"ssd_kd": {**META, "capacity": 5000}, "fast": META, "dafl": {**SMALL, "rounds": 20, "cycles": 50}},
    "paper": {},
}
PLANNED = (
    ("cpu", "resnet20:resnet8", "cifar10", ("ssd_kd", "fast", "dafl")),
    ("paper", "wrn40_2:wrn16_1", "cifar10", ("ssd_kd", "fast")),
    ("paper", "resnet34:resnet18", "cifar10", ("ssd_kd", "fast")),
)
FAST = "FastDFKD's README, best epoch"
PUBLISHED: dict[tuple[str, str, str], tuple[float, str]] = {
    ("fast", "wrn40_2:wrn16_1", "cifar10"): (89.29, FAST),
    ("fast", "resnet34:resnet18", "cifar10"): (94.05, FAST),
    ("dafl", "wrn40_2:wrn16_1", "cifar10"): (65.71, FAST),
    ("dafl", "resnet34:resnet18", "cifar10"): (92.22, FAST),
    ("cmi", "wrn40_2:wrn16_1", "cifar10"): (90.01, FAST),
    ("cmi", "resnet34:resnet18", "cifar10"): (94.84, FAST),
    ("zskt", "wrn40_2:wrn16_1", "cifar10"): (83.74, FAST),
    ("zskt", "resnet34:resnet18", "cifar10"): (93.32, FAST),
    ("deepinversion", "wrn40_2:wrn16_1", "cifar10"): (83.04, FAST),
    ("deepinversion", "resnet34:resnet18", "cifar10"): (93.26, FAST),
}
"""Top-1 in percent and where it was printed. SSD-KD's own figures are not known to us."""


@dataclass(frozen=True)
class Row:
    """What is compared, and at which budget."""

    budget: str
    pair: str
    data: str
    method: str

    @property
    def name(self) -> str:
        """As in the results file, and as the beginning of a run folder's name."""
        return "-".join([self.budget, self.pair.replace(":", "-"), self.data, self.method])


def main(
    pair: str = "resnet20:resnet8",
    data: str = "cifar10",
    methods: str = "",
    seeds: int = 1,
    budget: str = "paper",
    minutes: float = 0.0,
    next: bool = False,
    device: str = "auto",
    out: Path = Path("runs/benchmark-cifar"),
) -> None:
    """Run what has not run yet, or with ``--next`` what is planned for this machine, and write the results.

    ``methods`` are names with commas between; without any, RESULTS.md is only rendered from what is there.
    """
    end = time.monotonic() + (60 * minutes or float("inf"))
    try:
        wanted = for_this_machine() if next else [Row(budget, pair, data, each) for each in methods.split(",") if each]
        for row, seed in [(row, seed) for seed in range(seeds) for row in wanted]:
            if not done(row, seed, out) and not run(row, seed, out, device, end):
                break
            keep(row, seed, out)
    except SpecError as error:
        sys.exit(str(error))
    finally:
        render()


def for_this_machine() -> list[Row]:
    """The planned rows: those at the papers' budget where there is a GPU, else the small ones."""
    budget = "paper" if torch.cuda.is_available() else "cpu"
    return [row for row in planned() if row.budget == budget]


def planned() -> list[Row]:
    """Every row that RESULTS.md always shows."""
    return [Row(budget, pair, data, each) for budget, pair, data, names in PLANNED for each in names]


def run(row: Row, seed: int, out: Path, device: str, end: float) -> bool:
    """Begin or continue one run; whether it was finished before ``end``."""
    if row.budget not in BUDGETS:
        raise SpecError("budget: " + unknown(row.budget, BUDGETS, "budget"))
    small = BUDGETS[row.budget]
    if small and row.method not in small:
        raise SpecError(f"budget = '{row.budget}' is known for {', '.join(small)}, not for '{row.method}'")
    net, _, student = row.pair.partition(":")
    teacher = teacher_of(net, row.data, device, end, out)
    if teacher is None:
        return False
    wishes = BUDGETS[row.budget].get(row.method, {})
    spec = plan(
        wishes, method=row.method, teacher=str(teacher), student=student, data=row.data, seed=seed, device=device
    )
    return measure(spec, folder_of(out, row.name, seed), end)["state"] == "finished"


def teacher_of(net: str, data: str, device: str, end: float, out: Path) -> Path | None:
    """The checkpoint of a teacher, trained below ``out`` until ``end`` if nobody has one; None if that is too early."""
    given = Path(os.environ.get("DFKD_DATA", "."), "teachers", f"{data}_{net}.pth")
    if given.is_file():
        return given
    minutes = max(0.1, (end - time.monotonic()) / 60) if end < float("inf") else 0.0
    file = (
        out / "teachers" / f"{data}_{net}.safetensors"
    )  # beside the runs, so that one folder is all there is to carry
    spec = TeacherSpec(net=net, data=data, device=device, minutes=minutes, out=str(file))
    if finished(spec) is None:
        training = TeacherTraining(spec)
        for epoch in training:
            print(epoch, flush=True)
        if not training.done:
            return None
    return spec.path


def done(row: Row, seed: int, out: Path) -> bool:
    """Whether the results hold this run, or its finished folder is here."""
    known = any(each["seed"] == seed for each in load().get(row.name, {}).get("runs", []))
    return known or is_finished(folder_of(out, row.name, seed))


def load() -> dict[str, dict[str, Any]]:
    """The results so far, by a row's name."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(row: Row, seed: int, out: Path) -> None:
    """Put a finished run into the results."""
    folder = RunFolder(folder_of(out, row.name, seed))
    if not is_finished(folder.path):
        return
    found = load()
    facts = {"budget": row.budget, "pair": row.pair, "data": row.data, "method": row.method}
    runs = [each for each in found.get(row.name, {}).get("runs", []) if each["seed"] != seed]
    spec = folder.spec()
    settings = {"rounds": spec.rounds, **spec.settings}
    runs = sorted([*runs, {**measure(spec, folder.path), "settings": settings}], key=lambda each: each["seed"])
    RESULTS.write_text(json.dumps({**found, row.name: {**facts, "runs": runs}}, indent=1) + "\n")


HEAD = ["method", "certainty", "n", "last", "oracle best", "μ", "σ", "published", "images", "teacher queries",
        "student steps", "synthesis h", "distillation h", "device", "commit"]  # fmt: skip


def render() -> None:
    """Write RESULTS.md: every planned row, measured or not, and every other one that was measured."""
    found = load()
    rows = [*planned(), *(Row(*(each[key] for key in ("budget", "pair", "data", "method"))) for each in found.values())]
    parts = [INTRODUCTION]
    for budget, pair, data in dict.fromkeys((row.budget, row.pair, row.data) for row in rows):
        names = dict.fromkeys(row.method for row in rows if (row.budget, row.pair, row.data) == (budget, pair, data))
        lines = [line(Row(budget, pair, data, name), found) for name in names]
        teacher, student = pair.split(":")
        parts.append(f"## {teacher} → {student} on {data}, {SAID[budget]}\n\n" + table(HEAD, lines) + "\n")
    parts.append("## Teachers\n\n" + table(TEACHER_HEAD, teacher_lines()) + "\n")
    parts.append(speed_page.section())
    (ROOT / "RESULTS.md").write_text("\n".join(parts))


INTRODUCTION = """# Results

Written by `python benchmarks/cifar.py` from `benchmarks/results/cifar.json`, which holds every setting, version and
hash. *Last* is the student after the last round; nobody without labels can choose the oracle's round. Accuracies are
top-1 in percent on the test set, mean ± standard deviation over n seeds. Published figures are best epochs, so compare
them with the oracle column. Hours are those of that device, with what else ran on it. `inferred` methods are our
reading of a paper, not a reproduction. The digits results are in the README.
"""
SAID = {
    "cpu": "a small budget: about half an hour of one CPU core",
    "paper": "the papers' budget",
}
TEACHER_HEAD = [
    "net",
    "data",
    "n",
    "top-1",
    "top-5",
    "calibration error",
    "parameters",
    "sha256",
    "seconds",
    "device",
    "commit",
]


def line(row: Row, found: dict[str, dict[str, Any]]) -> list[str]:
    """One row of the table."""
    runs = found.get(row.name, {}).get("runs", [])
    certainty = METHODS[row.method].certainty.split(" ")[0] if row.method in METHODS else "unknown"
    printed = PUBLISHED.get((row.method, row.pair, row.data))
    published = f"{printed[0]:.2f} ({printed[1]})" if printed else "none known"
    if methods.remark(METHODS[row.method]):
        certainty += ", real images"
    if not runs:
        return [row.method, certainty, "0", *["not measured"] * 4, published, *["not measured"] * 7]
    accuracies = [percent(runs, name) for name in ("last", "oracle_best", "mu", "sigma")]
    counts = [f"{spread(runs, name)['mean']:,.0f}" for name in ("images", "teacher_queries", "s_steps")]
    hours = [f"{spread(runs, name)['mean'] / 3600:.2f}" for name in ("synthesis_s", "distillation_s")]
    where = [", ".join(dict.fromkeys(each[key] for each in runs)) for key in ("device", "commit")]
    return [row.method, certainty, str(len(runs)), *accuracies, published, *counts, *hours, where[0], where[1][:7]]


def percent(runs: list[dict[str, Any]], name: str) -> str:
    """Mean and spread of a fraction, in percent."""
    found = spread(runs, name)
    deviation = "" if found["standard_deviation"] is None else f" ± {100 * found['standard_deviation']:.2f}"
    return f"{100 * (found['mean'] or 0.0):.2f}{deviation}"


def teacher_lines() -> list[list[str]]:
    """The teachers that were measured with ``python benchmarks/cifar.py measure-teacher``."""
    known = json.loads(TEACHERS.read_text()) if TEACHERS.exists() else {}
    lines = [
        [facts["net"], facts["on"], f"{facts['n']:,}", f"{100 * facts['accuracy']:.2f}", f"{100 * facts['top5']:.2f}",
         f"{facts['calibration_error']:.3f}", f"{facts['parameters']:,}", facts["sha256"][:12],
         f"{facts['seconds']:.0f}", facts["device"], facts["commit"][:7]]
        for facts in known.values()
    ]  # fmt: skip
    return lines or [["not measured"] * len(TEACHER_HEAD)]


TEACHERS = RESULTS.with_name("teachers.json")


def measure_teacher(file: Path, data_set: str = "cifar10") -> None:
    """Measure a checkpoint on the test set of ``data_set`` and write it into results/teachers.json and RESULTS.md."""
    from dfkd_lab import data

    teacher = teachers.load(str(file), data=data_set)
    split = data.evaluation_set(data_set, teacher.card.shape)
    begun = time.monotonic()
    facts = teacher.describe(teachers.examine(teacher, split)) | {"on": data_set, "n": len(split.labels)}
    facts |= {"name": file.name, "seconds": time.monotonic() - begun, **machine.provenance(torch.device("cpu"))}
    known = json.loads(TEACHERS.read_text()) if TEACHERS.exists() else {}
    TEACHERS.write_text(json.dumps({**known, file.name: facts}, indent=1) + "\n")
    render()


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure-teacher"]:
        tyro.cli(measure_teacher, args=sys.argv[2:])
    else:
        tyro.cli(main)
