"""The main job over several seeds: ``python benchmarks/demo.py --seeds 0 1 2`` writes results/demo.json.

Each seed is one run folder; a finished one is read, not run again, so the benchmark can be stopped and continued.
"""

import dataclasses
import json
import statistics
from pathlib import Path

import tyro

from dfkd_lab import RunFolder, Session, plan

RESULTS = Path(__file__).parent / "results" / "demo.json"


def main(seeds: tuple[int, ...] = (0, 1, 2), out: Path = Path("runs/benchmark-demo")) -> None:
    """Distil digits by SSD-KD once a seed and record every figure with its provenance."""
    rows = [measure(seed, out / f"seed{seed}") for seed in seeds]
    last = [row["last"] for row in rows]
    found = {
        "job": "SSD-KD, digits, convnet_32 -> convnet_8, buffer of 1,000 images",
        "n": len(rows),
        "student_last_mean": statistics.mean(last),
        "student_last_standard_deviation": statistics.stdev(last) if len(last) > 1 else None,
        "largest_gap_to_teacher": max(row["teacher"] - row["last"] for row in rows),
        "runs": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "runs"}, indent=1))


def measure(seed: int, path: Path) -> dict[str, object]:
    """One seed's result and provenance."""
    for _ in Session(dataclasses.replace(plan(method="ssd_kd", seed=seed), out=str(path))):
        pass
    folder = RunFolder(path)
    manifest = folder.manifest()
    result = {"seed": seed, **folder.result(), "data_free": folder.seal()["data_free"]}
    parameters = {who: manifest[who]["parameters"] for who in ("teacher", "student")}
    return {
        **result,
        "parameters": parameters,
        "teacher_sha256": manifest["teacher"]["sha256"],
        **manifest["sessions"][-1],
    }


if __name__ == "__main__":
    tyro.cli(main)
