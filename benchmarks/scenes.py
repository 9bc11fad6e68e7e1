"""A U-Net -> half its width on scenes: ``python benchmarks/scenes.py`` writes results/scenes.json and RESULTS.md.

The teacher is the built-in one. Every row has about 864 student steps, which is the preset's but for the methods in
``BUDGET``. One run folder a row and seed; a finished one is read, an unfinished one goes on.
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

PAIR = {"teacher": "scenes", "student": "unet_12", "data": "scenes"}
BUDGET: dict[str, dict[str, Any]] = {
    "kd": {},
    "ssd_kd": {},
    "fast": {},
    "dafl": {"rounds": 58},
    "dfad": {"rounds": 43, "cycles": 4},
    "alone": {},
    "noise": {},
    "untrained": {},
}


def main(
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    minutes: float = 0.0,
    out: Path = Path("runs/benchmark-scenes"),
) -> None:
    """Run what has not run yet, seed by seed; ``only`` names methods."""
    end = time.monotonic() + (60 * minutes or float("inf"))
    for seed in seeds:
        for method in only or BUDGET:
            known = [each["seed"] for each in recorded("scenes").get(method, {}).get("runs", [])]
            if seed not in known and time.monotonic() < end:
                run(method, seed, out, end)
    render()


def run(method: str, seed: int, out: Path, end: float) -> None:
    """One run, recorded when it is finished."""
    spec = settled({"method": method, **BUDGET[method], **PAIR, "seed": seed, "evaluate_every": 6})
    folder = folder_of(out, method, seed)
    result = measure(spec, folder, end)
    if is_finished(folder):
        keep(method, RunFolder(folder), result)


def keep(method: str, folder: RunFolder, result: dict[str, Any]) -> None:
    """Put a finished run into the results, with what was measured of its last student."""
    last = folder.reports()[-1]
    facts = {**last.details, "shares": last.shares, "curve": curve(folder), "settings": all_settings(folder.spec())}
    put("scenes", BUDGET, method, {**result, **facts})


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
