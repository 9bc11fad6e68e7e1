"""The main job over several seeds: ``python benchmarks/demo.py --seeds 0 1 2`` writes results/demo.json.

Each seed is one run folder; a finished one is read, not run again, so the benchmark can be stopped and continued.
"""

import json
from pathlib import Path

import tyro
from rows import measure, spread

from dfkd_lab.runs.planning import settled
from dfkd_lab.system.processes import tune_process

RESULTS = Path(__file__).parent / "results" / "demo.json"


def main(seeds: tuple[int, ...] = (0, 1, 2), out: Path = Path("runs/benchmark-demo")) -> None:
    """Distil digits by SSD-KD once a seed and record every figure with its provenance."""
    rows = [measure(settled({"method": "ssd_kd", "seed": seed}), out / f"seed{seed}") for seed in seeds]
    found = {
        "job": "SSD-KD, digits, convnet_32 -> convnet_8, buffer of 1,000 images",
        "n": len(rows),
        "student_last": spread(rows, "last"),
        "largest_gap_to_teacher": max(row["teacher"] - row["last"] for row in rows),
        "runs": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "runs"}, indent=1))


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
