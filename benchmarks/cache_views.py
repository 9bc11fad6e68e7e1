"""What kept views cost in accuracy: ``python benchmarks/cache_views.py`` writes results/cache_views.json.

SSD-KD and FastDFKD on digits, FastDFKD from a ResNet-20 to a ResNet-8 on CIFAR-10, with the teacher's answers to 1, 2,
... views of each stored image kept, and with none: a new view and a new answer at each read. One run folder a row and
seed, below ``--out``; it goes on where it was stopped, and what is recorded is not run again. ``--minutes`` ends after
that time, saved.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from cifar import META, teacher_of
from results_page import render
from rows import folder_of, is_finished, measure, spread

from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.processes import tune_process

RESULTS = Path(__file__).parent / "results/cache_views.json"


@dataclass(frozen=True)
class Row:
    """One method on one pair with one number of views."""

    pair: str
    method: str
    views: int

    @property
    def name(self) -> str:
        """As in the results file, and as the beginning of a run folder's name."""
        pair = "" if self.pair == "digits" else self.pair.replace(":", "-") + "-"
        return f"{pair}{self.method}-{self.views}"

    def spec(self, seed: int, out: Path) -> RunSpec:
        """The run of one seed. On CIFAR-10 an image is read 80 times, from a narrow generator."""
        given: dict[str, Any] = {"method": self.method, "cache_views": self.views, "seed": seed}
        if self.pair != "digits":
            teacher, _, student = self.pair.partition(":")
            file = teacher_of(teacher, "cifar10", "cpu", float("inf"), out)
            given |= {**META, "rounds": 12, "teacher": str(file), "student": student, "data": "cifar10"}
        return settled(given)


ROWS = [
    *(Row("digits", method, views) for method in ("ssd_kd", "fast") for views in (0, 1, 2, 4, 8, 16)),
    *(Row("resnet20:resnet8", "fast", views) for views in (0, 2, 4, 8)),
]


def main(
    pair: str = "digits",
    seeds: tuple[int, ...] = (0, 1, 2),
    views: tuple[int, ...] = (),
    minutes: float = 0.0,
    out: Path = Path("runs/benchmark-views"),
) -> None:
    """Run what of ``pair`` has not run yet, seed by seed, and record it; ``views`` narrows it."""
    end = time.monotonic() + (60 * minutes or float("inf"))
    rows = [row for row in ROWS if row.pair == pair and row.views in (views or [row.views])]
    for seed in seeds:
        for row in rows:
            if time.monotonic() < end and seed not in [run["seed"] for run in recorded(row)]:
                folder = folder_of(out, row.name, seed)
                run = measure(row.spec(seed, out), folder, end)
                if is_finished(folder):
                    write(row, run)
    render()


def load() -> dict[str, Any]:
    """What is recorded."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return found


def recorded(row: Row) -> list[dict[str, Any]]:
    """The runs of a row that are recorded."""
    runs: list[dict[str, Any]] = load().get(row.name, {}).get("runs", [])
    return runs


def write(row: Row, run: dict[str, Any]) -> None:
    """Put a finished run into the results, with mean and spread of its row's last students."""
    runs = sorted([*recorded(row), run], key=lambda each: each["seed"])
    figures = {name: spread(runs, name) for name in ("last", "teacher_queries")}
    facts = {"pair": row.pair, "method": row.method, "views": row.views, "n": len(runs)}
    found = {**load(), row.name: {**facts, **figures, "runs": runs}}
    names = [each.name for each in ROWS]
    ordered = {name: found[name] for name in sorted(found, key=names.index)}
    RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
