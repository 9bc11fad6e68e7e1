"""Every method on digits at equal student steps: ``python benchmarks/digits.py`` writes results/digits.json.

Beside the methods stand the references (real images, noise) and three combinations of slots that no paper tried.
``--ladder`` runs SSD-KD's ablations instead, from a plain small buffer to the whole method, and down to 1 % of the
original number of images, and writes results/ladder.json. RESULTS.md is rendered anew.
"""

from dataclasses import dataclass
from typing import Any

from benchmark import Benchmark, Flags, command

from dfkd_lab import METHODS

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


@dataclass(frozen=True)
class Digits(Flags):
    """Which table."""

    ladder: bool = False
    """SSD-KD's ablations"""


def rows(ladder: bool) -> dict[str, dict[str, Any]]:
    """What ``plan`` is given, by row."""
    if ladder:
        return {rung: {"method": "ssd_kd", **settings} for rung, settings in LADDER.items()}
    found = {name: {"method": name} for name in METHODS if name not in REFERENCES}
    few = {f"kd on {FEW:,} images": {"method": "kd", "settings": {"images": FEW}}}
    return {**found, **CROSSES, **{name: {"method": name} for name in REFERENCES}, **few}


def main(flags: Digits) -> None:
    """Run what is not recorded of one of the two tables."""
    found = rows(flags.ladder)
    benchmark = Benchmark(
        "ladder" if flags.ladder else "digits",
        rows=tuple(found),
        settings=lambda row, teacher: found[row],
        record=lambda row, runs: runs,
    )
    benchmark.run(flags)


if __name__ == "__main__":
    command(main, Digits)
