"""Real teachers on CIFAR: ``python benchmarks/cifar.py`` writes results/cifar.json, and RESULTS.md.

A row is a pair, a data set, a budget and a method; a run of it is one run folder a seed, below ``--out``. Runs go on
where they were stopped, here or wherever their folders are brought; a finished one is read, not run again, and what
results/cifar.json already holds is kept. ``--minutes`` ends after that time, saved. ``--next`` does the next unfinished
part of what is planned for a CPU, training the teacher first if there is none; gpu.py does the rest.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_page import PLANNED, RESULTS, TEACHERS, load, render
from rows import curve, folder_of, is_finished, measure, with_run

from dfkd_lab import RunFolder, teachers
from dfkd_lab.errors import SpecError
from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import unknown
from dfkd_lab.system.device import pick_device, provenance
from dfkd_lab.system.processes import tune_process
from dfkd_lab.teachers.teacher_spec import EPOCHS, TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining, finished

SMALL = {"width": 16, "batch": 128}
META = {**SMALL, "rounds": 24, "warm_up": 2, "g_steps": 10, "s_steps": 100}
HOUR = {"width": 32, "batch": 128, "rounds": 152, "warm_up": 2, "g_steps": 10, "s_steps": 100}
GAME = {"width": 32, "batch": 128, "rounds": 60, "cycles": 50, "s_steps": 5}
BUDGETS: dict[str, dict[str, dict[str, Any]]] = {
    # About half an hour of one CPU core: a narrow generator, and far fewer steps than the papers'.
    "cpu": {"ssd_kd": {**META, "capacity": 5000}, "fast": META, "dafl": {**SMALL, "rounds": 20, "cycles": 50}},
    # About an hour of two CPU cores: wide enough a generator, 15,000 student steps where one is kept images for.
    "hour": {
        "ssd_kd": {**HOUR, "capacity": 5000},
        "fast": HOUR,
        "nayer": {**HOUR, "cycles": 1, "s_batch": 128},
        "cmi": {"width": 32, "batch": 128, "rounds": 100, "g_steps": 30, "s_steps": 100},
        "deepinversion": {
            "preset": "cifar",
            "batch": 128,
            "rounds": 60,
            "g_steps": 60,
            "s_steps": 250,
            "capacity": 7680,
        },
        "pre_dfkd": {**GAME, "replayed": 16, "g_lr": 2e-3},
        "cgdd": GAME,
        "kd": {"rounds": 150, "s_steps": 100, "images": 19_456},
        "noise": {"rounds": 150, "s_steps": 100},
    },
    "paper": {},
}
POINTS = 15
"""Of a curve."""


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
    """Run what has not run yet, or with ``--next`` what is planned for a CPU, and write the results.

    ``methods`` are names with commas between; without any, RESULTS.md is only rendered from what is there.
    """
    end = time.monotonic() + (60 * minutes or float("inf"))
    try:
        asked = [Row(budget, pair, data, each) for each in methods.split(",") if each]
        wanted = [row for row in planned() if row.budget in ("cpu", "hour")] if next else asked
        for row, seed in [(row, seed) for seed in range(seeds) for row in wanted]:
            if not done(row, seed, out) and not run(row, seed, out, device, end):
                break
            keep(row, seed, out)
    except SpecError as error:
        sys.exit(str(error))
    finally:
        render()


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
    given = {"teacher": str(teacher), "student": student, "data": row.data, "seed": seed, "device": device}
    budget = BUDGETS[row.budget].get(row.method, {})
    # of the others a curve as it comes: there an evaluation is never more than 2 % of the work
    every = {"evaluate_every": max(1, budget["rounds"] // POINTS)} if row.budget == "hour" else {}
    spec = settled({"method": row.method, **budget, **given, **every})
    return measure(spec, folder_of(out, row.name, seed), end)["state"] == "finished"


def teacher_of(net: str, data: str, device: str, end: float, out: Path, epochs: int = EPOCHS) -> Path | None:
    """The checkpoint of a teacher, trained below ``out`` until ``end`` if nobody has one; None if that is too early."""
    given = Path(os.environ.get("DFKD_DATA", "."), "teachers", f"{data}_{net}.pth")
    if given.is_file():
        return given
    minutes = max(0.1, (end - time.monotonic()) / 60) if end < float("inf") else 0.0
    file = out / "teachers" / f"{data}_{net}.safetensors"  # beside the runs: one folder is all there is to carry
    spec = TeacherSpec(net=net, data=data, epochs=epochs, device=device, minutes=minutes, out=str(file))
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


def keep(row: Row, seed: int, out: Path) -> None:
    """Put a finished run into the results."""
    folder = RunFolder(folder_of(out, row.name, seed))
    if not is_finished(folder.path):
        return
    found = load()
    facts = {"budget": row.budget, "pair": row.pair, "data": row.data, "method": row.method}
    spec = folder.spec()
    settings = {"rounds": spec.rounds, **spec.settings}
    run = {**measure(spec, folder.path), "settings": settings, "curve": curve(folder)}
    runs = with_run(found.get(row.name, {}).get("runs", []), run)
    RESULTS.write_text(json.dumps({**found, row.name: {**facts, "runs": runs}}, indent=1) + "\n")


def measure_teacher(file: Path, data_set: str = "cifar10") -> None:
    """Measure a checkpoint on the test set of ``data_set`` and write it into results/teachers.json and RESULTS.md."""
    from dfkd_lab import data

    teacher = teachers.load(str(file), data=data_set)
    split = data.evaluation_set(data_set, teacher.card.shape)
    start = time.monotonic()
    facts = teacher.describe(teachers.examine(teacher, split)) | {"on": data_set, "n": len(split.labels)}
    facts |= {"name": file.name, "seconds": time.monotonic() - start, **provenance(pick_device("cpu"))}
    known = json.loads(TEACHERS.read_text()) if TEACHERS.exists() else {}
    TEACHERS.write_text(json.dumps({**known, file.name: facts}, indent=1) + "\n")
    render()


if __name__ == "__main__":
    import tyro  # here: gpu.py uses the rest on a machine that lacks it

    tune_process()
    if sys.argv[1:2] == ["measure-teacher"]:
        tyro.cli(measure_teacher, args=sys.argv[2:])
    else:
        tyro.cli(main)
