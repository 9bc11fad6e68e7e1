"""What kept views cost in accuracy: ``python benchmarks/cache_views.py`` writes results/cache_views.json.

SSD-KD and FastDFKD on digits, FastDFKD from a ResNet-20 to a ResNet-8 on CIFAR-10, with the teacher's answers to 1, 2,
... views of each stored image kept, and with none: a new view and a new answer at each read. RESULTS.md is rendered
anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmark import Benchmark, Flags, command
from cifar import META
from rows import spread


@dataclass(frozen=True)
class Row:
    """One method on one pair with one number of views."""

    pair: str
    method: str
    views: int

    @property
    def name(self) -> str:
        """As in the results file."""
        pair = "" if self.pair == "digits" else self.pair.replace(":", "-") + "-"
        return f"{pair}{self.method}-{self.views}"

    def settings(self, ready: Callable[..., str]) -> dict[str, Any]:
        """Of its runs. On CIFAR-10 an image is read 80 times, from a narrow generator."""
        given: dict[str, Any] = {"method": self.method, "cache_views": self.views}
        if self.pair == "digits":
            return given
        teacher, _, student = self.pair.partition(":")
        pair = {"teacher": ready(teacher, "cifar10"), "student": student, "data": "cifar10"}
        return {**given, **META, "rounds": 12, **pair}

    def record(self, runs: list[dict[str, Any]]) -> dict[str, Any]:
        """What the results file has of it, with mean and spread of its last students."""
        facts = {"pair": self.pair, "method": self.method, "views": self.views, "n": len(runs)}
        return {**facts, **{name: spread(runs, name) for name in ("last", "teacher_queries")}, "runs": runs}


ROWS = [
    *(Row("digits", method, views) for method in ("ssd_kd", "fast") for views in (0, 1, 2, 4, 8, 16)),
    *(Row("resnet20:resnet8", "fast", views) for views in (0, 2, 4, 8)),
]


@dataclass(frozen=True)
class Views(Flags):
    """On which pair."""

    pair: Literal["digits", "resnet20:resnet8"] = "digits"


def main(flags: Views) -> None:
    """Run what is not recorded of one pair."""
    rows = {row.name: row for row in ROWS if row.pair == flags.pair}
    benchmark = Benchmark(
        "cache_views",
        tuple(rows),
        settings=lambda name, teacher: rows[name].settings(teacher),
        record=lambda name, runs: rows[name].record(runs),
        order=[row.name for row in ROWS],
    )
    benchmark.run(flags)


if __name__ == "__main__":
    command(main, Views)
