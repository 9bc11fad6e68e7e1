"""Real teachers on CIFAR: ``python benchmarks/cifar.py`` writes results/cifar.json, and RESULTS.md.

A row is a pair, a data set, a budget and a method. ``--budget`` alone runs what is planned of it, ``--pair`` names one;
"cpu" and "hour" are for CPUs, and gpu.py does what is planned at the papers' budgets. A teacher that nobody has is
trained first, below ``--out``. ``cifar.py measure-teacher FILE`` measures one on the test set.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmark import Benchmark, Flags, command
from results_page import PLANNED, TEACHERS, render
from rows import curve_and_settings

from dfkd_lab import METHODS, teachers
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import unknown
from dfkd_lab.system.device import pick_device, provenance

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
SLOWER = {"resnet56:resnet20": 3}
"""Than ResNet-20 -> ResNet-8, by the multiplications of a student step: an hour has so many times fewer rounds."""
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

    def settings(self, teacher: Callable[..., str], device: str) -> dict[str, Any]:
        """Of its runs."""
        net, _, student = self.pair.partition(":")
        given = {"teacher": teacher(net, self.data, device=device), "student": student, "data": self.data}
        budget = dict(BUDGETS[self.budget].get(self.method, {}))
        if self.budget == "hour":
            for count in budget.keys() & {"rounds", "images"}:
                budget[count] //= SLOWER.get(self.pair, 1)
            # of the others a curve as it comes: there an evaluation is never more than 2 % of the work
            budget["evaluate_every"] = max(1, budget["rounds"] // POINTS)
        return {"method": self.method, **budget, **given, "device": device}


@dataclass(frozen=True)
class Cifar(Flags):
    """Which rows; --only names methods."""

    budget: Literal["cpu", "hour", "paper"] = "cpu"
    pair: str = ""
    """as in resnet20:resnet8; none: all that are planned"""
    data: str = "cifar10"
    device: str = "auto"


def main(flags: Cifar) -> None:
    """Run what is not recorded of the rows that are asked for."""
    benchmark_of(rows(flags), flags.device).run(replace(flags, only=()))


def rows(flags: Cifar) -> list[Row]:
    """Those that are asked for.

    Raises:
        SpecError: if there are none of them.
    """
    if flags.pair:
        found = [Row(flags.budget, flags.pair, flags.data, each) for each in BUDGETS[flags.budget] or METHODS]
    else:
        found = [row for row in planned() if (row.budget, row.data) == (flags.budget, flags.data)]
    if not found:
        raise SpecError(f"data = '{flags.data}': nothing is planned at budget {flags.budget}; name a --pair")
    known = dict.fromkeys(row.method for row in found)
    for method in flags.only:
        if method not in known:
            raise SpecError("only: " + unknown(method, known, f"method at budget {flags.budget}"))
    return [row for row in found if row.method in (flags.only or known)]


def benchmark_of(rows: Iterable[Row], device: str) -> Benchmark:
    """Of ``rows``, whose results stand among those that are planned."""
    named = {row.name: row for row in rows}
    return Benchmark(
        "cifar",
        tuple(named),
        settings=lambda name, teacher: named[name].settings(teacher, device),
        facts=curve_and_settings,
        record=lambda name, runs: {**asdict(named[name]), "runs": runs},
        seeds=(0,),
        order=[row.name for row in planned()],
    )


def planned() -> list[Row]:
    """Every row that RESULTS.md always shows."""
    return [Row(budget, pair, data, each) for budget, pair, data, names in PLANNED for each in names]


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
    if sys.argv[1:2] == ["measure-teacher"]:
        import tyro  # here: gpu.py uses the rest on a machine that lacks it

        tyro.cli(measure_teacher, args=sys.argv[2:])
    else:
        command(main, Cifar)
