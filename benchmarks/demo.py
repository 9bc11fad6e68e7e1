"""The main job over several seeds: ``python benchmarks/demo.py --seeds 0 1 2`` writes results/demo.json.

Its runs are those of a sweep, which goes on where it was stopped. What the file holds of other seeds stays.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmark import command, refuse_working_folder
from rows import recorded, run_of, spread, write

from dfkd_lab.cli.sweep import carry_out
from dfkd_lab.sweeps import Sweep

SETTINGS = {"method": "ssd_kd"}


@dataclass(frozen=True)
class Flags:
    """How often, and where."""

    seeds: tuple[int, ...] = (0, 1, 2)
    jobs: int = 0
    """runs at a time; 0: one for each GPU, or one"""
    out: Path = Path("runs/benchmark-demo")
    """the folder of its runs"""


def main(flags: Flags) -> None:
    """Distil digits by SSD-KD once a seed and record every figure with its provenance."""
    refuse_working_folder(flags.out)
    sweep = Sweep(flags.out.absolute().name, {"seed": flags.seeds}, SETTINGS, flags.out.absolute().parent)
    known = {run["seed"]: run for run in recorded("demo").get("runs", [])}
    known |= {run["seed"]: run for run in map(run_of, carry_out(sweep, jobs=flags.jobs).folders)}
    runs = [known[seed] for seed in sorted(known)]
    found = {
        "job": "SSD-KD, digits, convnet_32 -> convnet_8, buffer of 1,000 images",
        "n": len(runs),
        "student_last": spread(runs, "last"),
        "largest_gap_to_teacher": max(run["teacher"] - run["last"] for run in runs),
        "runs": runs,
    }
    write("demo", found)
    print(json.dumps({name: value for name, value in found.items() if name != "runs"}, indent=1))


if __name__ == "__main__":
    command(main, Flags)
