"""SSD-KD taken apart on CIFAR-10, ResNet-20 -> ResNet-8: ``python benchmarks/ladder_cifar.py``.

It decides what the paper leaves open: what phi goes by, the priority's exponent, what importance weights are divided
by, whether phi weighs the student's loss too, and what helps a short budget, where the first images stay in the buffer.
Every arm has 4,000 student steps, and uniform reads and FastDFKD stand beside. It writes results/ladder_cifar.json and
RESULTS.md.
"""

from collections.abc import Callable
from typing import Any

from benchmark import Benchmark, Flags, command
from rows import curve

BUDGET = {"width": 32, "batch": 128, "g_steps": 10, "s_steps": 100, "warm_up": 2, "rounds": 42}
SSD = {"method": "ssd_kd", "capacity": 5000}
ARMS: dict[str, dict[str, Any]] = {
    "FastDFKD": {"method": "fast"},
    "phi by target": {**SSD, "modulate": "target"},
    "phi by confidence": {**SSD, "modulate": "confidence"},
    "uniform, no phi": {**SSD, "diversity": False, "difficulty": False, "priority": False},
    "phi by target, alpha 1": {**SSD, "modulate": "target", "alpha": 1.0},
    "phi by confidence, alpha 1": {**SSD, "modulate": "confidence", "alpha": 1.0},
    "phi by target, for the student too": {**SSD, "modulate": "target", "modulate_student": True},
    "phi by confidence, weights over their mean": {**SSD, "importance": "mean"},
    "phi by confidence, no weights": {**SSD, "importance": "none"},
    "FastDFKD, warm-up of 8 rounds": {"method": "fast", "warm_up": 8, "rounds": 48},
    "FastDFKD, 2,000 images, the worst evicted": {"method": "fast", "capacity": 2000, "evict": "worst"},
    "FastDFKD, 2,000 images, the oldest evicted": {"method": "fast", "capacity": 2000},
}


def settings(arm: str, teacher: Callable[..., str]) -> dict[str, Any]:
    """Of the runs of an arm."""
    pair = {"teacher": teacher("resnet20", "cifar10"), "student": "resnet8", "data": "cifar10"}
    return {**BUDGET, **ARMS[arm], **pair}


BENCHMARK = Benchmark(
    "ladder_cifar",
    tuple(ARMS),
    settings,
    facts=lambda folder: {"curve": curve(folder)},
    record=lambda arm, runs: {"settings": {**BUDGET, **ARMS[arm]}, "runs": runs},
)


def main(flags: Flags) -> None:
    """Run what is not recorded."""
    BENCHMARK.run(flags)


if __name__ == "__main__":
    command(main, Flags)
