"""What kept views cost in accuracy: ``python benchmarks/cache_views.py`` writes results/cache_views.json.

SSD-KD and FastDFKD on digits with the teacher's answers to 1, 2, ... views of each stored image kept, and with none: a
new view and a new answer at each read. One run folder a row and seed; a finished one is read, not run again.
"""

import json
from pathlib import Path

import tyro
from results_page import render
from rows import folder_of, is_finished, measure, spread

from dfkd_lab import RunFolder
from dfkd_lab.runs.planning import settled
from dfkd_lab.system.processes import tune_process

RESULTS = Path(__file__).parent / "results/cache_views.json"
VIEWS = (0, 1, 2, 4, 8, 16)
METHODS = ("ssd_kd", "fast")


def main(
    seeds: tuple[int, ...] = (0, 1, 2), views: tuple[int, ...] = VIEWS, out: Path = Path("runs/benchmark-views")
) -> None:
    """Run what has not run yet, seed by seed, and record it."""
    for seed in seeds:
        for row, (method, count) in ROWS.items():
            if count in views:
                measure(settled({"method": method, "cache_views": count, "seed": seed}), folder_of(out, row, seed))
                write({each: [folder_of(out, each, seed) for seed in seeds] for each in ROWS})
    render()


ROWS = {f"{method}-{count}": (method, count) for method in METHODS for count in VIEWS}


def write(folders: dict[str, list[Path]]) -> None:
    """Every run so far, with mean and spread of the last student's accuracy."""
    found = {}
    for row, paths in folders.items():
        runs = [measure(RunFolder(path).spec(), path) for path in paths if is_finished(path)]
        if runs:
            figures = {name: spread(runs, name) for name in ("last", "teacher_queries")}
            found[row] = {"method": ROWS[row][0], "views": ROWS[row][1], "n": len(runs), **figures, "runs": runs}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
