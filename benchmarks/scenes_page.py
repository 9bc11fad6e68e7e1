"""The section of RESULTS.md on scenes, from results/scenes.json."""

from typing import Any

from mnist_page import origin
from rows import percent, recorded, shown, spread, table

from dfkd_lab import METHODS
from dfkd_lab.methods import remark

HEAD = """## A U-Net → half its width on scenes of digits

Segmentation (`python benchmarks/scenes.py`): 11 classes, every pixel one, about 864 student steps a row. mIoU in
percent of the *last* student on 400 scenes, with and without the background; a network that calls every pixel
background has 5.9, and 65 % of the pixels right. Scenes are made for demonstration: no published number is comparable,
and the preset was tried on them. Seconds are those of a shared machine.

"""


def section() -> str:
    """The table, a row a method."""
    head = ["method", "certainty", "n", "mIoU", "without background", "pixels right", "teacher", "student steps",
            "seconds", "device", "commit"]  # fmt: skip
    rows: dict[str, list[dict[str, Any]]] = {name: row["runs"] for name, row in recorded("scenes").items()}
    lines = [_line(name, runs) for name, runs in rows.items()] or [["not measured"] * len(head)]
    return f"{HEAD}{table(head, lines)}\n"


def _line(method: str, runs: list[dict[str, Any]]) -> list[str]:
    certain = METHODS[method].certainty.split(" ")[0] if method in ("dfad", "kd", "alone") else "inferred"
    figures = [percent(runs, name) for name in ("last", "without_first", "pixel_accuracy", "teacher")]
    steps, seconds = (shown(spread(runs, name)) for name in ("s_steps", "seconds"))
    return [
        method,
        certain + (", real images" if remark(METHODS[method]) else ""),
        str(len(runs)),
        *figures,
        steps,
        seconds,
        *origin(runs),
    ]
