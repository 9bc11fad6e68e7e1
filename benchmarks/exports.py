"""Students before and after int8: ``python benchmarks/exports.py`` writes results/export.json and RESULTS.md.

SSD-KD's students of digits and of MNIST, trained by their presets. Each is exported with int8 calibrated on its own
synthetic images, whatever it then agrees in, and both files are measured by onnxruntime on the CPU: bytes, accuracy on
the evaluation set, and how long a pass takes, in turns. ``--only digits`` leaves out MNIST, whose data lie below
DFKD_DATA and whose teacher is trained first.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from benchmark import Benchmark, Flags, command
from torch import Tensor

from dfkd_lab import RunFolder, data, export
from dfkd_lab.export import graphs
from dfkd_lab.export.formats import EXTRA
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.system.device import provenance
from dfkd_lab.system.environment import version_of

STUDENTS = {"digits": "convnet_8", "mnist": "lenet5_half"}
"""By data set, which is the name of a row."""
GRAPHS = {"float": "model.onnx", "int8": "model.int8.onnx"}
BATCHES = (1, 64)
TURNS, TURN_PASSES = 15, 20
"""Of the timing of a batch size, and how many passes a turn of each file has."""

Run = Callable[[Tensor], Tensor]


def settings(row: str, teacher: Callable[..., str]) -> dict[str, Any]:
    """Of the runs of a row."""
    given = {"method": "ssd_kd", "student": STUDENTS[row], "data": row}
    return given if row == "digits" else {**given, "teacher": teacher("lenet5", row, epochs=12)}


def measured(folder: RunFolder) -> dict[str, Any]:
    """Of a finished run both files of its student, and where they were measured."""
    written = export.write(folder, ["onnx", "int8"], accept=True)
    runs = {kind: graphs.load_onnx(written.path / name) for kind, name in GRAPHS.items()}
    spec = folder.spec()
    held_out = data.evaluation_set(spec.data)
    assert held_out is not None
    images = to_float(held_out.images)
    right = {kind: _right(run, images, held_out.labels) for kind, run in runs.items()}
    return {
        "student": spec.student,
        "evaluated": len(held_out.labels),
        "right": right,
        "accuracy": {kind: count / len(held_out.labels) for kind, count in right.items()},
        "bytes": {kind: written.files[name]["bytes"] for kind, name in GRAPHS.items()},
        "same_class": {kind: written.files[name]["same_class"] for kind, name in GRAPHS.items()},
        "calibration": written.files[GRAPHS["int8"]]["what"],
        "ms_a_pass": {str(batch): _timed(runs, images[:batch]) for batch in BATCHES},
        "packages": {name: version_of(name) for name in EXTRA},
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


def main(flags: Flags) -> None:
    """Run, export and measure what is not recorded."""
    Benchmark("export", tuple(STUDENTS), settings, measured).run(flags)


if __name__ == "__main__":
    command(main, Flags)
