"""LeNet-5 -> half of it on MNIST, DAFL's pair: ``python benchmarks/mnist.py`` writes results/mnist.json and RESULTS.md.

The data lie below DFKD_DATA, in torchvision's layout. The teacher is trained first, below ``--out``. Settings are the
preset for small gray images, at a budget of minutes of one core; ``BUDGET`` says where that departs from it.
"""

from collections.abc import Callable
from typing import Any

from benchmark import Benchmark, Flags, command
from rows import curve_and_settings

from dfkd_lab.runs.planning import settled

BUDGET: dict[str, dict[str, Any]] = {
    "kd": {},
    "fast": {},
    "ssd_kd": {},
    "dfad": {"width": 8, "batch": 128},
    "dafl": {"width": 8, "batch": 128, "rounds": 80},
    "zskt": {},
    "cgdd": {},
    "pre_dfkd": {},
    "deepinversion": {},
    "alone": {},
    "noise": {},
}
POINTS = 20
"""Of a curve."""


def settings(method: str, teacher: Callable[..., str]) -> dict[str, Any]:
    """Of the runs of a method, evaluated as often as its curve has points."""
    pair = {"teacher": teacher("lenet5", "mnist", epochs=12), "student": "lenet5_half", "data": "mnist"}
    given = {"method": method, **pair, **BUDGET[method]}
    return {**given, "evaluate_every": max(1, settled(given).rounds // POINTS)}


def main(flags: Flags) -> None:
    """Run what is not recorded."""
    Benchmark("mnist", tuple(BUDGET), settings, curve_and_settings).run(flags)


if __name__ == "__main__":
    command(main, Flags)
