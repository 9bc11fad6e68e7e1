"""Students before and after int8: ``python benchmarks/exports.py`` writes results/export.json and RESULTS.md.

SSD-KD's students of digits and of MNIST, trained as the tables of these say, one run folder a pair and seed below
``--out``; a finished one is read, an unfinished one goes on. Each is exported with int8 calibrated on its own synthetic
images, whatever it then agrees in, and both files are measured by onnxruntime on the CPU: bytes, accuracy on the
evaluation set, and how long a pass takes, in turns. ``--only digits`` leaves out MNIST, whose data lie below DFKD_DATA.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mnist
import torch
import tyro
from results_page import render
from rows import folder_of, measure, put
from torch import Tensor

from dfkd_lab import RunFolder, data, export
from dfkd_lab.export import graphs
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs.planning import settled
from dfkd_lab.system.device import provenance
from dfkd_lab.system.environment import installed
from dfkd_lab.system.processes import tune_process

PAIRS: dict[str, dict[str, Any]] = {
    "digits": {"student": "convnet_8", "data": "digits"},
    "mnist": {"student": "lenet5_half", "data": "mnist"},
}
"""By name: what ``settled`` is given beside method and seed."""
GRAPHS = {"float": "model.onnx", "int8": "model.int8.onnx"}
BATCHES = (1, 64)
TURNS, TURN_PASSES = 15, 20
"""Of the timing of a batch size, and how many passes a turn of each file has."""

Run = Callable[[Tensor], Tensor]


def main(
    only: tuple[str, ...] = (), seeds: tuple[int, ...] = (0, 1, 2), out: Path = Path("runs/benchmark-export")
) -> None:
    """Run, export and measure; ``only`` names pairs."""
    for seed in seeds:
        for name in only or PAIRS:
            teacher = {"teacher": str(mnist.teacher_of(out))} if name == "mnist" else {}
            folder = folder_of(out, name, seed)
            measure(settled({"method": "ssd_kd", "seed": seed, **PAIRS[name], **teacher}), folder)
            put("export", PAIRS, name, measured(RunFolder(folder)))
    render()


def measured(folder: RunFolder) -> dict[str, Any]:
    """The row of one student: both files, with their provenance."""
    written = export.write(folder, ["onnx", "int8"], accept=True)
    runs = {kind: graphs.load_onnx(written.path / name) for kind, name in GRAPHS.items()}
    spec = folder.spec()
    held_out = data.evaluation_set(spec.data)
    assert held_out is not None
    images = to_float(held_out.images)
    right = {kind: _right(run, images, held_out.labels) for kind, run in runs.items()}
    return {
        "seed": spec.seed,
        "student": spec.student,
        "method": spec.method,
        "of_the_log": folder.result()["last"],
        "evaluated": len(held_out.labels),
        "right": right,
        "accuracy": {kind: count / len(held_out.labels) for kind, count in right.items()},
        "bytes": {kind: written.files[name]["bytes"] for kind, name in GRAPHS.items()},
        "same_class": {kind: written.files[name]["same_class"] for kind, name in GRAPHS.items()},
        "calibration": written.files[GRAPHS["int8"]]["what"],
        "ms_a_pass": {str(batch): _timed(runs, images[:batch]) for batch in BATCHES},
        "packages": {name: installed(name) for name in ("onnx", "onnxscript", "onnxruntime")},
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **provenance(torch.device("cpu")),
    }


def _right(run: Run, images: Tensor, labels: Tensor) -> int:
    """How many images get their class."""
    parts = zip(images.split(64), labels.split(64), strict=True)
    return sum(int((run(part).argmax(1) == wanted).sum()) for part, wanted in parts)


def _timed(runs: dict[str, Run], images: Tensor) -> dict[str, Any]:
    """Median and quartiles of the milliseconds of a pass, by file, measured in turns: both meet what else runs here."""
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(TURNS):
        for kind, run in runs.items():
            times[kind].append(_turn(run, images))
    return {kind: {"n": TURNS, "median": statistics.median(each), "quartiles": statistics.quantiles(each)[::2]}
            for kind, each in times.items()}  # fmt: skip


def _turn(run: Run, images: Tensor) -> float:
    """Milliseconds of a pass, the mean over those of a turn."""
    run(images)
    start = time.perf_counter()
    for _ in range(TURN_PASSES):
        run(images)
    return 1000 * (time.perf_counter() - start) / TURN_PASSES


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
