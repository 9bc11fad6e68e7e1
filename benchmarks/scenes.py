"""A U-Net -> half its width, every pixel a class: ``python benchmarks/scenes.py`` writes results/scenes.json.

On scenes the teacher is the built-in one, and every row has about 864 student steps, which is the preset's but for the
methods in its budget. ``--data camvid`` writes results/camvid.json: rows of about an hour of two cores, from a teacher
that is trained first (``$DFKD_DATA/camvid``). One run folder a row and seed; a finished one is read, an unfinished one
goes on. ``--minutes`` ends after that time, saved. RESULTS.md is rendered anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from cifar import teacher_of
from results_page import render
from rows import all_settings, curve, folder_of, is_finished, measure, put, recorded

from dfkd_lab import RunFolder
from dfkd_lab.runs.planning import settled
from dfkd_lab.system.processes import tune_process


@dataclass(frozen=True)
class Rows:
    """What is compared on a data set."""

    teacher: Callable[[float, Path], Path | str | None]
    """Of when to end and where to keep it: the teacher; None if that was too early."""
    seeds: int
    budget: dict[str, dict[str, Any]]
    """The settings of each method beside its preset's."""


SETS = {
    "scenes": Rows(
        lambda end, out: "scenes",
        3,
        {
            "kd": {},
            "ssd_kd": {},
            "fast": {},
            "dafl": {"rounds": 58},
            "dfad": {"rounds": 43, "cycles": 4},
            "alone": {},
            "noise": {},
            "untrained": {},
        },
    ),
    "camvid": Rows(
        lambda end, out: teacher_of("unet_24", "camvid", "cpu", end, out),
        1,
        {
            "kd": {"rounds": 144},
            "ssd_kd": {"rounds": 90},
            "fast": {"rounds": 90},
            "dfad": {"rounds": 12, "batch": 16},
            "noise": {"rounds": 144},
        },
    ),
}


def main(
    data: Literal["scenes", "camvid"] = "scenes",
    only: tuple[str, ...] = (),
    seeds: int = 0,
    minutes: float = 0.0,
    out: Path = Path("runs/benchmark-scenes"),
) -> None:
    """Run what has not run yet, seed by seed; ``only`` names methods, ``seeds`` 0 takes as many as are planned."""
    end = time.monotonic() + (60 * minutes or float("inf"))
    rows = SETS[data]
    if teacher := rows.teacher(end, out):
        for seed in range(seeds or rows.seeds):
            for method in only or rows.budget:
                known = [each["seed"] for each in recorded(data).get(method, {}).get("runs", [])]
                if seed not in known and time.monotonic() < end:
                    run(data, method, str(teacher), seed, out, end)
    render()


def run(data: str, method: str, teacher: str, seed: int, out: Path, end: float) -> None:
    """One run, recorded when it is finished."""
    pair = {"teacher": teacher, "student": "unet_12", "data": data, "seed": seed}
    every = {"evaluate_every": 6} if data == "scenes" else {}
    spec = settled({"method": method, **SETS[data].budget[method], **pair, **every})
    folder = folder_of(out, method if data == "scenes" else f"{data}-{method}", seed)
    result = measure(spec, folder, end)
    if is_finished(folder):
        keep(data, method, RunFolder(folder), result)


def keep(data: str, method: str, folder: RunFolder, result: dict[str, Any]) -> None:
    """Put a finished run into the results, with what was measured of its last student."""
    last = folder.reports()[-1]
    facts = {**last.details, "shares": last.shares, "curve": curve(folder), "settings": all_settings(folder.spec())}
    put(data, SETS[data].budget, method, {**result, **facts})


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
