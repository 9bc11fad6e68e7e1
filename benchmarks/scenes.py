"""A U-Net -> half its width, every pixel a class: ``python benchmarks/scenes.py`` writes results/scenes.json.

On scenes the teacher is the built-in one, and every row has about 864 student steps, which is the preset's but for the
methods in its budget and for the rows that say how many times the rounds they have. ``--data camvid`` writes
results/camvid.json: rows of about an hour of two cores, from a teacher that is trained first (``$DFKD_DATA/camvid``).
RESULTS.md is rendered anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from benchmark import Benchmark, Flags, command
from rows import curve_and_settings, method_of

from dfkd_lab import RunFolder

BUDGETS: dict[str, dict[str, dict[str, Any]]] = {
    "scenes": {
        "kd": {},
        "ssd_kd": {},
        "fast": {},
        "dafl": {"rounds": 58},
        "dfad": {"rounds": 43, "cycles": 4},
        "alone": {},
        "noise": {},
        "untrained": {},
        "ssd_kd, 4 times the rounds": {"rounds": 360, "evaluate_every": 24},
        "fast, 4 times the rounds": {"rounds": 360, "evaluate_every": 24},
    },
    "camvid": {
        "kd": {"rounds": 144},
        "ssd_kd": {"rounds": 90},
        "fast": {"rounds": 90},
        "dfad": {"rounds": 12, "batch": 16},
        "noise": {"rounds": 144},
    },
}
"""By data set and row, which begins with its method: the settings beside the preset's."""
SEEDS = {"scenes": (0, 1, 2), "camvid": (0,)}


@dataclass(frozen=True)
class Scenes(Flags):
    """Which table."""

    data: Literal["scenes", "camvid"] = "scenes"


def settings(data: str, row: str, teacher: Callable[..., str]) -> dict[str, Any]:
    """Of the runs of a row."""
    pair = {"teacher": "scenes" if data == "scenes" else teacher("unet_24", data), "student": "unet_12", "data": data}
    every = {"evaluate_every": 6} if data == "scenes" else {}
    return {"method": method_of(row), **every, **BUDGETS[data][row], **pair}


def facts(folder: RunFolder) -> dict[str, Any]:
    """Of a finished run what was measured of its last student, and what decided it."""
    last = folder.reports()[-1]
    return {**last.details, "shares": last.shares, **curve_and_settings(folder)}


def main(flags: Scenes) -> None:
    """Run what is not recorded of one data set."""
    rows = tuple(BUDGETS[flags.data])
    Benchmark(flags.data, rows, partial(settings, flags.data), facts, seeds=SEEDS[flags.data]).run(flags)


if __name__ == "__main__":
    command(main, Scenes)
