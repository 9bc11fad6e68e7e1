"""The section of RESULTS.md on exported students, before and after int8."""

from __future__ import annotations

import statistics
from typing import Any

from mnist_page import origin
from rows import recorded, shown, spread, table

INTRODUCTION = """## Exported students, before and after int8

SSD-KD's students as ONNX files (`python benchmarks/exports.py`): onnxruntime on the CPU, one thread, int8 calibrated on
the run's own synthetic images and no other. *Accuracy* is that on the evaluation set; the margin that int8 leaves above
the synthetic images' ranges was chosen with these students in view. *Same class* is the share of 336 passes of up to
256 synthetic images in which a file gives the student's class; below 99 % an int8 file is refused unless `--accept` is
said. Those images are made to be hard, so it says little of the accuracy. A *pass* is the median over the students of
the median of 15 turns, both files in turns, beside other work: compare the two with each other, and nothing else.

"""
LABELS = {"digits": "digits", "mnist": "MNIST"}
HEAD = ["data", "student", "file", "n", "bytes", "accuracy", "same class", "ms a pass of 1", "ms a pass of 64",
        "device", "commit"]  # fmt: skip


def section() -> str:
    """Two rows a student's data set: the float file and the int8 file."""
    rows = {name: row["runs"] for name, row in recorded("export").items()}
    lines = [_line(name, kind, runs) for name, runs in rows.items() for kind in ("float", "int8")]
    return f"{INTRODUCTION}{table(HEAD, lines or [['not measured'] * len(HEAD)])}\n"


def _line(name: str, kind: str, runs: list[dict[str, Any]]) -> list[str]:
    flat = [
        {"bytes": run["bytes"][kind], "accuracy": run["accuracy"][kind], "same_class": run["same_class"][kind]}
        for run in runs
    ]
    passes = [
        f"{statistics.median(run['ms_a_pass'][batch][kind]['median'] for run in runs):.3f}" for batch in ("1", "64")
    ]
    figures = [shown(spread(flat, figure), places) for figure, places in (("accuracy", 4), ("same_class", 3))]
    size = f"{statistics.mean(run['bytes'] for run in flat):,.0f}"
    return [LABELS[name], runs[0]["student"], kind, str(len(runs)), size, *figures, *passes, *origin(runs)]
