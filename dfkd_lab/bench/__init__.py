"""How fast the loop is, and what its time goes into: ``python -m dfkd_lab bench``.

The measure is the *overhead*: seconds of the loop over seconds of the bare passes of networks that no loop can avoid
(generator, teacher and student, forward and backward, at the same batch, precision and layout). Both are measured in
one process, in turns, so that a busy machine slows both alike; a figure is the median of its turns.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import tyro

from dfkd_lab import compilation, machine, methods, precision
from dfkd_lab.bench.overhead import Pair, overhead
from dfkd_lab.bench.parts import memories, precisions, views
from dfkd_lab.spec import SpecError, check, knob
from dfkd_lab.tables import plain_table

SIZES: dict[str, dict[str, int]] = {"cpu": {"width": 16, "batch": 128, "g_steps": 10, "s_steps": 100}, "cuda": {}}
"""Settings at which a method is measured; on a CPU those of the small budget in RESULTS.md, on a GPU the paper's."""


@dataclasses.dataclass(frozen=True)
class BenchSpec:
    """Speed of the loop and its parts; every figure is measured now."""

    pairs: str = knob("digits,resnet20:resnet8", "pairs of networks, with commas: digits or TEACHER:STUDENT")
    methods: str = knob("ssd_kd,fast,dafl", "methods, with commas; all for every method without real images")
    repeats: int = knob(5, "turns of each measurement", low=1, high=1000)
    least_s: float = knob(0.0, "turns of a loop go on for so long, be they enough or not", low=0, high=3600, unit="s")
    images: str = knob("1000,5000,50000,500000", "images in the measured memories, with commas")
    cache_views: int = knob(0, "views kept with the teacher's answer, as in a run", low=0, high=1000)
    precision: str = knob("auto", "as in a run", choices=("auto", "fp32", "bf16"))
    compile: bool = knob(False, "as in a run")
    tape: bool = knob(False, "as in a run")
    device: str = knob("auto", "as in a run", choices=("auto", "cpu", "cuda"))
    json: bool = knob(False, "print everything as JSON")


def command(arguments: list[str]) -> None:
    """Measure, and print tables or JSON."""
    wish = tyro.cli(BenchSpec, prog="dfkd_lab bench", args=arguments)
    found = measure(wish)
    print(json.dumps(found, indent=1) if wish.json else shown(found))


def measure(wish: BenchSpec) -> dict[str, Any]:
    """Everything, as plain values with their provenance.

    Raises:
        SpecError: for a pair, method, number or device that cannot be, before anything is measured.
    """
    for name in (each.name for each in dataclasses.fields(wish)):
        check(BenchSpec, name, getattr(wish, name))
    machine.check_device(wish.device)
    device = machine.pick_device(wish.device)
    held = precision.pick(wish.precision, device)
    pairs = {name: Pair.of(name) for name in wish.pairs.split(",")}
    names = [name for name in methods.METHODS if not methods.remark(methods.find(name))]
    names = names if wish.methods == "all" else wish.methods.split(",")
    for name in names:
        methods.find(name)
    counts = [_count(text) for text in wish.images.split(",") if text]
    compilation.check(wish.compile, device)
    how = {"precision": held, "cache_views": wish.cache_views, "compile": wish.compile, "tape": wish.tape}
    loops = []
    for pair_name, pair in pairs.items():
        settings = {} if pair.preset == "digits" else SIZES[device.type]
        for name in names:
            row = overhead(pair, name, settings, wish.repeats, wish.least_s, device=device, **how)
            loops.append({"pair": pair_name, "method": name, **how, **row})
    batch = 256 if device.type == "cuda" else 128
    shape = (3, 32, 32)
    return {
        **machine.provenance(device),
        "loops": loops,
        "precisions": [
            {"pair": name, "batch": batch, **row}
            for name, pair in pairs.items()
            for row in precisions(pair, batch, wish.repeats, device)
        ],
        "memories": memories(shape, counts, 256, 10 * wish.repeats, device),
        "views": views(shape, 256, 10 * wish.repeats, device),
    }


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise SpecError(f"images = '{text}' is not a whole number of images above 0")
    return int(text)


def shown(found: dict[str, Any]) -> str:
    """Everything as plain tables."""
    slots = list(dict.fromkeys(name for row in found["loops"] for name in row["slots_s"]))
    loops = [
        {
            **{
                name: row[name]
                for name in ("pair", "method", "precision", "cache_views", "compile", "tape", "overhead")
            },
            "range": "{:.2f}..{:.2f}".format(*row["overhead_range"]),
            "loop s/round": row["loop_s"],
            "bare s/round": row["bare_s"],
            "student images/s": row["student_images_per_s"],
            "n": row["n"],
        }
        for row in found["loops"]
    ]
    parts = [
        {"pair": row["pair"], "method": row["method"], **{f"{name} s": row["slots_s"].get(name) for name in slots}}
        for row in found["loops"]
    ]
    about = f"{found['device']}, {found['threads']} threads, torch {found['versions']['torch']}, {found['commit'][:9]}"
    titles = {
        f"The loop and the bare passes of its networks; {about}": loops,
        "Seconds a round by slot": parts,
        "Networks by precision and layout": found["precisions"],
        "Memories": found["memories"],
        "Views": found["views"],
    }
    return "\n\n".join(f"{title}\n{plain_table(rows)}" for title, rows in titles.items())
