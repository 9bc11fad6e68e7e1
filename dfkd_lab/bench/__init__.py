"""How fast the loop is, and what its time goes into: ``python -m dfkd_lab bench``.

The measure is the *overhead*: seconds of the loop over seconds of the bare passes of networks that no loop can avoid
(generator, teacher and student, forward and backward, at the same batch, precision and layout). Both are measured in
one process, in turns, so that a busy machine slows both alike; a figure is the median of its turns.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dfkd_lab import methods
from dfkd_lab.bench.overhead import Pair, measure_overhead
from dfkd_lab.bench.parts import memories, precisions, views
from dfkd_lab.engine import compilation, precision
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import SWITCH, build, device_setting, record, setting
from dfkd_lab.system.device import check_device, pick_device, provenance

SIZES: dict[str, dict[str, int]] = {"cpu": {"width": 16, "batch": 128, "g_steps": 10, "s_steps": 100}, "cuda": {}}
"""Settings at which a method is measured; on a CPU those of the small budget in RESULTS.md, on a GPU the paper's."""


@dataclasses.dataclass(frozen=True)
class BenchSpec:
    """Speed of the loop and its parts; every figure is measured now."""

    pairs: str = setting("digits,resnet20:resnet8", "pairs of networks, with commas: digits or TEACHER:STUDENT")
    methods: str = setting("ssd_kd,fast,dafl", "methods, with commas; all for every method without real images")
    repeats: int = setting(5, "turns of each measurement", low=1, high=1000)
    least_s: float = setting(
        0.0, "turns of a loop go on for so long, be they enough or not", low=0, high=3600, unit="s"
    )
    images: str = setting("1000,5000,50000,500000", "images in the measured memories, with commas")
    cache_views: int = setting(0, "views kept with the teacher's answer, as in a run", low=0, high=1000)
    precision: str = setting("auto", "as in a run", choices=("auto", "fp32", "bf16"))
    compile: str = setting("no", "as in a run", choices=SWITCH)
    device: str = device_setting()
    json: bool = setting(False, "print everything as JSON")


def measure(request: BenchSpec) -> dict[str, Any]:
    """Everything, as plain values with their provenance.

    Raises:
        SpecError: for a pair, method, number or device that cannot be, before anything is measured.
    """
    request = build(BenchSpec, record(request))
    check_device(request.device)
    device = pick_device(request.device)
    held = precision.pick(request.precision, device)
    pairs = {name: Pair.of(name) for name in request.pairs.split(",")}
    names = [name for name in methods.METHODS if not methods.remark(methods.find(name))]
    names = names if request.methods == "all" else request.methods.split(",")
    for name in names:
        methods.find(name)
    counts = [_count(text) for text in request.images.split(",") if text]
    compilation.check(request.compile == "yes", device)
    compiled = compilation.is_wanted(request.compile, device)
    how = {"precision": held, "cache_views": request.cache_views, "compile": compiled}
    loops = []
    for pair_name, pair in pairs.items():
        settings = {} if pair.is_digits else SIZES.get(device.type, {})
        for name in names:
            row = measure_overhead(pair, name, settings, request.repeats, request.least_s, device=device, **how)
            loops.append({"pair": pair_name, "method": name, **how, **row})
    batch = 256 if device.type == "cuda" else 128
    shape = (3, 32, 32)
    return {
        **provenance(device),
        "loops": loops,
        "precisions": [
            {"pair": name, "batch": batch, **row}
            for name, pair in pairs.items()
            for row in precisions(pair, batch, request.repeats, device)
        ],
        "memories": memories(shape, counts, 256, 10 * request.repeats, device),
        "views": views(shape, 256, 10 * request.repeats, device),
    }


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise SpecError(f"images = '{text}' is not a whole number of images above 0")
    return int(text)
