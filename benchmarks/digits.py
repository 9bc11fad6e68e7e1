"""Every method on digits at equal student steps: ``python benchmarks/digits.py`` writes results/digits.json.

Beside the methods stand the references (real images, noise) and three combinations of slots that no paper tried. One
run folder a row and seed; a finished one is read, not run again, so the benchmark can be stopped at any time and
continued on the same machine. After each run the results are written anew; what has not run says "not measured".
``--ladder`` runs SSD-KD's ablations instead, from a plain small buffer to the whole method, and down to 1 % of the
original number of images.
"""

import json
from pathlib import Path
from typing import Any

import tyro
from results_page import render
from rows import folder_of, is_finished, measure

from dfkd_lab import METHODS, RunFolder
from dfkd_lab.runs.planning import settled
from dfkd_lab.system.processes import tune_process

RESULTS = Path(__file__).parent / "results"
UNIFORM = {"diversity": False, "difficulty": False, "priority": False}
LADDER: dict[str, dict[str, Any]] = {
    "uniform small buffer": UNIFORM,
    "+ diversity": {"difficulty": False, "priority": False},
    "+ difficulty": {"diversity": False, "priority": False},
    "+ both": {"priority": False},
    "+ priority (SSD-KD)": {},
    "SSD-KD, phi by target": {"modulate": "target"},
    "SSD-KD, alpha 1": {"alpha": 1.0},
    "SSD-KD, phi by target, alpha 1": {"modulate": "target", "alpha": 1.0},
    "SSD-KD, phi by target, for the student too": {"modulate": "target", "modulate_student": True},
    "SSD-KD, the worst evicted": {"evict": "worst"},
    "SSD-KD, warm-up of 8 rounds": {"warm_up": 8, "rounds": 38},
    **{
        f"{name}, {images} images": {"capacity": images, **settings}
        for images in (135, 14)  # 10 % and 1 % of the images the teacher was trained on
        for name, settings in (("uniform", UNIFORM), ("SSD-KD", {}))
    },
}
FEW = 1000
"""As many real images as SSD-KD's buffer holds."""
REFERENCES = ("kd", "alone", "noise", "untrained")
CROSSES: dict[str, dict[str, Any]] = {
    "ssd_kd with pre_dfkd's VAE": {"method": "ssd_kd", "memory": "vae"},
    "cgdd with ssd_kd's buffer": {"method": "cgdd", "memory": "priority"},
    "fast with attention transfer": {"method": "fast", "terms": "attention=50"},
}


def jobs(ladder: bool) -> dict[str, dict[str, Any]]:
    """What ``plan`` is given, by row."""
    if ladder:
        return {rung: {"method": "ssd_kd", **settings} for rung, settings in LADDER.items()}
    rows = {name: {"method": name} for name in METHODS if name not in REFERENCES}
    few = {f"kd on {FEW:,} images": {"method": "kd", "settings": {"images": FEW}}}
    return {**rows, **CROSSES, **{name: {"method": name} for name in REFERENCES}, **few}


def main(
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0, 1, 2),
    ladder: bool = False,
    out: Path = Path("runs/benchmark-digits"),
) -> None:
    """Run what has not run yet, seed by seed, so that a stopped benchmark has every row about as often.

    ``only`` names rows to run; the others are shown as far as they have run.
    """
    name, rows = "ladder" if ladder else "digits", jobs(ladder)
    stems = {row: f"ladder-{number}" if ladder else slug(row) for number, row in enumerate(rows)}
    for seed in seeds:
        for row in only or rows:
            measure(settled({"seed": seed, **rows[row]}), folder_of(out, stems[row], seed))
            found = {each: [folder_of(out, stem, seed) for seed in seeds] for each, stem in stems.items()}
            write(name, {each: list(filter(is_finished, paths)) for each, paths in found.items()})


def slug(row: str) -> str:
    """A row's name as a file name."""
    return "".join(letter if letter.isalnum() else "_" for letter in row)


def write(name: str, found: dict[str, list[Path]]) -> None:
    """The results as JSON with provenance, and in RESULTS.md."""
    rows = {row: [measure(RunFolder(path).spec(), path) for path in paths] for row, paths in found.items()}
    (RESULTS / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
    render()


if __name__ == "__main__":
    tune_process()
    tyro.cli(main)
