"""SSD-KD taken apart on CIFAR-10, ResNet-20 -> ResNet-8: ``python benchmarks/ladder_cifar.py``.

It decides what the paper leaves open: what phi goes by, the priority's exponent, whether phi weighs the student's loss
too, and what helps a short budget, where the first images stay in the buffer. Every arm has 4,000 student steps, and
uniform reads and FastDFKD stand beside. One run folder an arm and seed below ``--out``; runs go on where they were
stopped, a finished one is read, and results/ladder_cifar.json is written after each. ``--minutes`` ends then, saved.
"""

import time
from pathlib import Path
from typing import Any

import tyro
from cifar import teacher_of
from results_page import render
from rows import curve, folder_of, is_finished, measure, put, recorded

from dfkd_lab import RunFolder
from dfkd_lab.runs.planning import settled
from dfkd_lab.system.processes import tune_process

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
    "FastDFKD, warm-up of 8 rounds": {"method": "fast", "warm_up": 8, "rounds": 48},
    "FastDFKD, 2,000 images, the worst evicted": {"method": "fast", "capacity": 2000, "evict": "worst"},
    "FastDFKD, 2,000 images, the oldest evicted": {"method": "fast", "capacity": 2000},
}


def main(
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    minutes: float = 0.0,
    out: Path = Path("runs/benchmark-ladder-cifar"),
) -> None:
    """Run what has not run yet, seed by seed; ``only`` names arms."""
    end = time.monotonic() + (60 * minutes or float("inf"))
    for seed in seeds:
        for number, (arm, settings) in enumerate(ARMS.items()):
            if arm in (only or ARMS) and time.monotonic() < end:
                run(arm, f"arm-{number}", settings, seed, end, out)
    render()


def run(arm: str, stem: str, settings: dict[str, Any], seed: int, end: float, out: Path) -> None:
    """One run, recorded when it is finished; nothing if it is recorded already."""
    runs = recorded("ladder_cifar").get(arm, {}).get("runs", [])
    if seed in [each["seed"] for each in runs]:
        return
    teacher = teacher_of("resnet20", "cifar10", "cpu", end, out)
    if teacher is None:
        return
    given = {"teacher": str(teacher), "student": "resnet8", "data": "cifar10", "seed": seed}
    folder = folder_of(out, stem, seed)
    result = measure(settled({**BUDGET, **settings, **given}), folder, end)
    if is_finished(folder):
        put("ladder_cifar", ARMS, arm, {**result, "curve": curve(RunFolder(folder))}, settings={**BUDGET, **settings})


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
