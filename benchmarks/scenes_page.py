"""The section of RESULTS.md on scenes, from results/scenes.json."""

from typing import Any

from mnist_page import origin
from rows import method_of, percent, recorded, shown, spread, table

from dfkd_lab import METHODS
from dfkd_lab.methods import certainty, remark

HEAD = """## A U-Net → half its width on scenes of digits

Segmentation (`python benchmarks/scenes.py`): 11 classes, every pixel one, about 864 student steps a row that says
nothing else. mIoU in percent of the *last* student on 400 scenes, with and without the background; a network that calls
every pixel background has 5.9, and 65 % of the pixels right. Scenes are made for demonstration: no published number is
comparable, and the preset was tried on them. Seconds are those of a shared machine.

"""


CAMVID = """## A U-Net → half its width on CamVid

Segmentation of street scenes at 240 × 180 (`python benchmarks/scenes.py --data camvid`): 11 classes, crops of
128 × 128, about an hour of two CPU cores a row. mIoU in percent of the *last* student on the 233 test images. Published
by DFAD on 360 × 480 images from DeepLabv3-ResNet-50 (59.4) to DeepLabv3-MobileNetV2, best epoch: DFAD 53.5, KD on real
images 53.5, noise 1.8, DAFL 1.0; its 300 epochs are 75,000 student steps of 64 images, of which a row here has the
share that its steps say.

"""


def camvid() -> str:
    """The table of CamVid, a row a method."""
    return f"{CAMVID}{_table('camvid')}\n"


def section() -> str:
    """The table of scenes, a row a method."""
    return f"{HEAD}{_table('scenes')}\n"


def _table(name: str) -> str:
    head = ["method", "certainty", "n", "mIoU", "without background", "pixels right", "teacher", "student steps",
            "seconds", "device", "commit"]  # fmt: skip
    rows: dict[str, list[dict[str, Any]]] = {name: row["runs"] for name, row in recorded(name).items()}
    lines = [_line(name, runs) for name, runs in rows.items()] or [["not measured"] * len(head)]
    return table(head, lines)


def _line(row: str, runs: list[dict[str, Any]]) -> list[str]:
    method = method_of(row)
    certain = certainty(METHODS[method], "segmentation").split(" ")[0]
    figures = [percent(runs, name) for name in ("last", "without_first", "pixel_accuracy", "teacher")]
    steps, seconds = (shown(spread(runs, name)) for name in ("s_steps", "seconds"))
    return [
        row,
        certain + (", real images" if remark(METHODS[method]) else ""),
        str(len(runs)),
        *figures,
        steps,
        seconds,
        *origin(runs),
    ]
