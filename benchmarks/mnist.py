"""LeNet-5 -> half of it on MNIST, DAFL's pair: ``python benchmarks/mnist.py`` writes results/mnist.json and RESULTS.md.

The data lie below DFKD_DATA, in torchvision's layout. The teacher is trained first, below ``--out``. Settings are the
preset for small gray images, at a budget of minutes of one core; ``BUDGET`` says where that departs from it. One run
folder a row and seed; a finished one is read, an unfinished one goes on. ``--minutes`` ends after that time, saved.
"""

import time
from pathlib import Path
from typing import Any

import tyro
from results_page import render
from rows import all_settings, curve, folder_of, is_finished, measure, put, recorded

from dfkd_lab import RunFolder
from dfkd_lab.runs.planning import settled
from dfkd_lab.system.processes import tune_process
from dfkd_lab.teachers.teacher_spec import TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining, finished

BUDGET: dict[str, dict[str, Any]] = {
    "kd": {},
    "fast": {},
    "ssd_kd": {},
    "dfad": {"width": 8, "batch": 128},
    "dafl": {"width": 8, "batch": 128, "rounds": 80},
    "zskt": {},
    "cgdd": {},
    "pre_dfkd": {},
    "deepinversion": {},
    "alone": {},
    "noise": {},
}
POINTS = 20
"""Of a curve."""


def main(
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    minutes: float = 0.0,
    out: Path = Path("runs/benchmark-mnist"),
) -> None:
    """Run what has not run yet, seed by seed; ``only`` names methods."""
    end = time.monotonic() + (60 * minutes or float("inf"))
    teacher = teacher_of(out)
    for seed in seeds:
        for method in only or BUDGET:
            if time.monotonic() < end:
                run(method, seed, teacher, out, end)
    render()


def teacher_of(out: Path) -> Path:
    """The teacher's checkpoint, trained if it is not there yet."""
    spec = TeacherSpec(net="lenet5", data="mnist", epochs=12, out=str(out / "teachers" / "mnist_lenet5.safetensors"))
    if finished(spec) is None:
        for epoch in TeacherTraining(spec):
            print(epoch, flush=True)
    return spec.path


def run(method: str, seed: int, teacher: Path, out: Path, end: float) -> None:
    """One run, recorded when it is finished; nothing if it is recorded already."""
    if seed in [each["seed"] for each in recorded("mnist").get(method, {}).get("runs", [])]:
        return
    given = {"method": method, "teacher": str(teacher), "student": "lenet5_half", "data": "mnist", "seed": seed}
    folder = folder_of(out, method, seed)
    rounds = settled({**BUDGET[method], **given}).rounds
    every = {"evaluate_every": max(1, rounds // POINTS)}
    result = measure(settled({**BUDGET[method], **given, **every}), folder, end)
    if is_finished(folder):
        keep(method, RunFolder(folder), result)


def keep(method: str, folder: RunFolder, result: dict[str, Any]) -> None:
    """Put a finished run into the results."""
    put("mnist", BUDGET, method, {**result, "curve": curve(folder), "settings": all_settings(folder.spec())})


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
