"""Samples of dense predictions: image, the teacher's map and the student's map beside each other, a row an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dfkd_lab.runs import maps
from widgets import thumbnails
from widgets.enlarged import Enlarged
from widgets.figures import COLORS
from widgets.pressable import Node

MAPS_PX = 250
WORDS = "synthetic image, the teacher's map, the student's map"
SHARES = "The bars are shares of the pixels."
STYLE = f"""
.dfkd-maps {{ position: relative; }}
.dfkd-maps img {{ display: block; width: 100%; image-rendering: pixelated; }}
.dfkd-maps button {{ all: unset; position: absolute; left: 0; width: 100%; cursor: pointer; }}
.dfkd-maps button:focus-visible {{ outline: 2px solid {COLORS[0]}; }}
.dfkd-legend {{ line-height: 1.7; }} .dfkd-legend span {{ white-space: nowrap; margin-right: 10px; }}
.dfkd-legend i {{ display: inline-block; width: 11px; height: 11px; border: 1px solid #888; }}
"""


def nodes(source: str, facts: Mapping[str, Any], focus: int | None) -> list[Node]:
    """The grid and which color is which class.

    It is enlarged a whole number of times, so that all rows are seen beside the chart.

    Args:
        source: Of the grid's PNG.
        facts: As its JSON has them.
        focus: The row where the keyboard goes on, or -1; None where no row can be pressed.
    """
    width = 3 * int(facts["width"]) + 2 * maps.GAP
    shown = width * max(1, MAPS_PX // max(1, width))
    image: Node = ["img", {"alt": "Images, teacher and student", "src": source}]
    rows = [] if focus is None else _rows(facts, focus)
    grid: Node = ["div", {"class": "dfkd-maps", "style": f"width: min(100%, {shown}px)"}, image, *rows]
    return [["div", {"style": "max-width: 360px"}, grid, *legend(facts)]]


def legend(facts: Mapping[str, Any]) -> list[Node]:
    """Which color is which class."""
    chips: list[Node] = []
    for each in facts["legend"]:
        color = f"background: rgb({', '.join(str(int(part)) for part in each['color'])})"
        chips += [["span", {}, ["i", {"style": color}], f" {each['name']}"], " "]
    return [["style", {}, STYLE], ["div", {"class": "dfkd-legend"}, *chips]]


def enlarged(path: Path, facts: Mapping[str, Any], place: int) -> Enlarged:
    """A row of the grid in ``path``, with how many pixels each network gives to each class."""
    try:
        with Image.open(path) as grid:
            parts = maps.cut(grid, facts, place)
    except (OSError, ValueError) as error:  # somebody wrote another grid than its JSON says
        return Enlarged(b"", "no image", {}, remark=f"The image cannot be read: {error}")
    teacher, student = (_classes(part, facts["legend"]) for part in parts[1:])
    names = [str(each["name"]) for each in facts["legend"]]
    share = lambda seen, number: float((seen == number).mean())  # noqa: E731
    shares = [(name, share(teacher, number), share(student, number)) for number, name in enumerate(names)]
    agreed = f"{float((teacher == student).mean()):.3f} of the pixels"
    gap = ((0, 0), (0, maps.GAP), (0, 0))
    spaced = np.concatenate([np.pad(part, gap, constant_values=128) for part in parts], 1)[:, : -maps.GAP]
    png = thumbnails.png(torch.from_numpy(spaced).permute(2, 0, 1)[None])
    remark = f"{WORDS[0].upper()}{WORDS[1:]}. {SHARES}"
    words = f"{WORDS}; both networks agree on {agreed}"
    return Enlarged(
        png, words, {"both agree on": agreed}, [each for each in shares if any(each[1:])], remark, columns=3
    )


def _classes(picture: np.ndarray, legend: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The class [H, W] that each color stands for; -1 for none."""
    found = np.full(picture.shape[:2], -1)
    for number, each in enumerate(legend):
        found[(picture == np.asarray(each["color"][:3])).all(-1)] = number
    return found


def _rows(facts: Mapping[str, Any], focus: int) -> list[Node]:
    """A button above each row."""
    n, high = int(facts["images"]), int(facts["height"])
    whole = n * (high + maps.GAP) - maps.GAP
    made: list[Node] = []
    for row in range(n):
        place = f"top: {100 * row * (high + maps.GAP) / whole:.3f}%; height: {100 * high / whole:.3f}%"
        name = f"image {row + 1}, enlarged with both maps"
        more = {"data-focus": "yes"} if row == focus else {}
        attributes = {"type": "button", "data-press": str(row), "title": "press to enlarge", "aria-label": name}
        made.append(["button", {**attributes, "style": place, **more}])
    return made
