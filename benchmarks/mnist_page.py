"""The sections of RESULTS.md on MNIST, and on SSD-KD taken apart on CIFAR-10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import curves
from rows import percent, recorded, shown, spread, table

from dfkd_lab import METHODS
from dfkd_lab.methods import remark

PUBLISHED = {
    "dafl": ("98.20", "DAFL's README, best epoch"),
    "dfad": ("98.3 ± .2", "DFAD's README, best epoch"),
    "kd": ("98.91", "DAFL's README"),
    "alone": ("98.65", "DAFL's README"),
    "noise": ("88.01", "DAFL's README"),
}
"""Top-1 in percent for this pair, and where it was printed; DFAD's own noise is at 74.7."""
STEPS = {"dafl": 200 * 120, "dfad": 40 * 250}
"""Student steps of the published runs."""
INTRODUCTION = """## LeNet-5 → half of it on MNIST

DAFL's pair (`python benchmarks/mnist.py`), at minutes of one core a run. The student has no batch norm and learns by
Adam at 4e-3 where no paper says otherwise; the teacher keeps no statistics, so that `bn_gap` is 0 with `balance` and
`activation` in its place. Top-1 in percent of the *last* student on the 10,000 test images; published figures are best
epochs, at the share of whose steps the next column stands. Seconds are those of one thread beside other work, some of
them of a run that was halted meanwhile: compare them with nothing.

"""
LADDER = """## SSD-KD taken apart on CIFAR-10

ResNet-20 → ResNet-8 (`python benchmarks/ladder_cifar.py`), every arm at 4,000 student steps of 128 images, a generator
32 wide. It decides what the paper leaves open; all of SSD-KD here is our reading.

"""


def mnist(pictures: Path) -> str:
    """The table of MNIST, with its curves."""
    rows = {name: row["runs"] for name, row in recorded("mnist").items()}
    head = ["method", "certainty", "n", "last", "oracle best", "published", "share of the steps", "student steps",
            "images", "seconds", "device", "commit"]  # fmt: skip
    lines = [_mnist_line(name, runs) for name, runs in rows.items()] or [["not measured"] * len(head)]
    return f"{INTRODUCTION}{table(head, lines)}\n\n{curves.draw(rows, pictures / 'curves_mnist.svg')}\n"


def _mnist_line(method: str, runs: list[dict[str, Any]]) -> list[str]:
    certainty = METHODS[method].certainty.split(" ")[0] + (", real images" if remark(METHODS[method]) else "")
    printed, where = PUBLISHED.get(method, ("none known", ""))
    steps = spread(runs, "s_steps")["mean"] or 0.0
    share = f"{steps / STEPS[method]:.0%}" if method in STEPS else "unknown"
    return [
        method, certainty, str(len(runs)), percent(runs, "last"), percent(runs, "oracle_best"),
        f"{printed} ({where})" if where else printed, share, f"{steps:,.0f}",
        f"{spread(runs, 'images')['mean']:,.0f}", shown(spread(runs, "seconds")), *origin(runs),
    ]  # fmt: skip


def ladder(pictures: Path) -> str:
    """The table of SSD-KD's arms on CIFAR-10, with its curves."""
    rows = {name: row["runs"] for name, row in recorded("ladder_cifar").items()}
    head = ["arm", "n", "last", "oracle best", "student steps", "seconds", "device", "commit"]
    lines = [
        [name, str(len(runs)), percent(runs, "last"), percent(runs, "oracle_best"),
         f"{spread(runs, 's_steps')['mean']:,.0f}", shown(spread(runs, "seconds")), *origin(runs)]
        for name, runs in rows.items()
    ] or [["not measured"] * len(head)]  # fmt: skip
    return f"{LADDER}{table(head, lines)}\n\n{curves.draw(rows, pictures / 'curves_ladder_cifar.svg')}\n"


def origin(runs: list[dict[str, Any]]) -> list[str]:
    """The devices and commits of the runs."""
    device, commit = (", ".join(dict.fromkeys(each[key] for each in runs)) for key in ("device", "commit"))
    return [device, ", ".join(dict.fromkeys(each[:7] for each in commit.split(", ")))]
