"""Every method on digits at equal student steps: ``python benchmarks/digits.py`` writes results/digits.{json,md}.

One run folder a method and seed; a finished one is read, not run again, so the benchmark can be stopped at any time and
continued on the same machine. After each run the results are written anew; what has not run says "not measured".
``--ladder`` runs SSD-KD's ablations instead, from a plain small buffer to the whole method, and down to 1 % of the
original number of images.
"""

import json
from pathlib import Path
from typing import Any

import tyro
from rows import measure, spread

from dfkd_lab import METHODS, RunFolder, plan

RESULTS = Path(__file__).parent / "results"
LADDER: dict[str, dict[str, Any]] = {
    "uniform small buffer": {"diversity": False, "difficulty": False, "priority": False},
    "+ diversity": {"difficulty": False, "priority": False},
    "+ difficulty": {"diversity": False, "priority": False},
    "+ both": {"priority": False},
    "+ priority (SSD-KD)": {},
    **{
        f"{name}, {images} images": {"capacity": images, **settings}
        for images in (135, 14)  # 10 % and 1 % of the images the teacher was trained on
        for name, settings in (
            ("uniform", {"diversity": False, "difficulty": False, "priority": False}),
            ("SSD-KD", {}),
        )
    },
}
FIGURES = ("last", "mu", "sigma", "images", "teacher_queries", "seconds")


def main(
    methods: tuple[str, ...] = tuple(METHODS),
    seeds: tuple[int, ...] = (0, 1, 2),
    ladder: bool = False,
    out: Path = Path("runs/benchmark-digits"),
) -> None:
    """Run what has not run yet, seed by seed, so that a stopped benchmark has every method about as often."""
    name = "ladder" if ladder else "digits"
    jobs = (
        {rung: ("ssd_kd", settings) for rung, settings in LADDER.items()} if ladder else {m: (m, {}) for m in methods}
    )
    stems = {job: out / (f"{name}-{number}" if ladder else job) for number, job in enumerate(jobs)}
    for seed in seeds:
        for job, (method, settings) in jobs.items():
            measure(plan(method=method, seed=seed, settings=settings), folder_of(stems[job], seed))
            write(name, {each: finished(stem, seeds) for each, stem in stems.items()})


def folder_of(stem: Path, seed: int) -> Path:
    """The run folder of one job and seed."""
    return stem.with_name(f"{stem.name}-seed{seed}")


def finished(stem: Path, seeds: tuple[int, ...]) -> list[Path]:
    """The finished run folders of one job."""
    found = [folder_of(stem, seed) for seed in seeds]
    return [path for path in found if path.exists() and RunFolder(path).status()["state"] == "finished"]


def write(name: str, found: dict[str, list[Path]]) -> None:
    """The results as JSON with provenance, and as a Markdown table."""
    rows = {job: [measure(RunFolder(path).spec(), path) for path in paths] for job, paths in found.items()}
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
    head = ["", "n", *FIGURES]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for job, runs in rows.items():
        cells = [shown(spread(runs, figure), figure) for figure in FIGURES] if runs else ["not measured"] * len(FIGURES)
        lines.append("| " + " | ".join([job, str(len(runs)), *cells]) + " |")
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


def shown(value: dict[str, float | None], figure: str) -> str:
    """Mean and spread as text: fractions to three places, counts whole."""
    digits = 3 if figure in ("last", "mu", "sigma") else 0
    spread_ = "" if value["standard_deviation"] is None else f" ± {value['standard_deviation']:,.{digits}f}"
    return f"{value['mean']:,.{digits}f}{spread_}"


if __name__ == "__main__":
    tyro.cli(main)
