"""One image, enlarged, beside what teacher and student say of it: plain values in, nodes of a page out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from widgets import thumbnails
from widgets.figures import COLORS, GRID, TEXT
from widgets.pressable import Node

SIDE_PX = 256
UNKNOWN = "unknown"
STYLE = f"""
.dfkd-enlarged {{ display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: flex-start; line-height: 1.4; }}
.dfkd-enlarged img {{ image-rendering: pixelated; max-width: 100%; }}
.dfkd-enlarged > div {{ flex: 1 1 190px; min-width: 0; }}
.dfkd-enlarged table {{ border-collapse: collapse; }}
.dfkd-enlarged th, .dfkd-enlarged td {{ text-align: left; padding: 1px 10px 1px 0; border: 0; font-weight: 400; }}
.dfkd-enlarged thead th {{ font-weight: 600; min-width: 110px; }}
.dfkd-enlarged tbody th {{ max-width: 150px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.dfkd-enlarged i {{ display: block; height: 8px; border-radius: 1px; }}
.dfkd-enlarged .teacher i {{ background: {TEXT}; }}
.dfkd-enlarged .student i {{ background: {COLORS[0]}; }}
.dfkd-enlarged dl {{ display: grid; grid-template-columns: auto 1fr; gap: 0 10px; margin: 6px 0; }}
.dfkd-enlarged dl > dt {{ font-weight: 600; white-space: nowrap; float: none; width: auto; }}
.dfkd-enlarged dl > dd {{ margin: 0; float: none; width: auto; }}
.dfkd-step {{ font: inherit; color: inherit; background: none; border: 1px solid {GRID.replace("0.25", "0.8")};
    border-radius: 2px; padding: 2px 10px; margin: 0 6px 6px 0; cursor: pointer; }}
.dfkd-step:disabled {{ opacity: 0.5; cursor: default; }}
.dfkd-step:focus-visible {{ outline: 2px solid {COLORS[0]}; outline-offset: 1px; }}
"""


@dataclass(frozen=True)
class Enlarged:
    """An image and what is known of it."""

    png: bytes
    words: str
    """What it shows, for who does not see it."""
    facts: Mapping[str, str]
    """What is known of it, by its name."""
    probabilities: Sequence[tuple[str, float | None, float | None]] = field(default_factory=list)
    """Class, and what teacher and student give to it; None where that is unknown."""
    remark: str = ""
    losses: Mapping[int, float] = field(default_factory=dict)
    """The student's last loss on it, by round, as far as that was kept."""
    columns: int = 1
    """How many pictures of the usual size it holds beside each other."""


def nodes(shown: Enlarged, at: int, of: int) -> list[Node]:
    """The image with its bars, and buttons "back", "previous" and "next".

    Args:
        shown: The image.
        at: Its place among those that can be stepped through, from 0 on.
        of: How many those are.
    """
    facts = [part for name, words in shown.facts.items() for part in (["dt", {}, name], ["dd", {}, words])]
    right: list[Node] = [_bars(shown)] if shown.probabilities else []
    right += [["dl", {}, *facts], *([["div", {}, shown.remark]] if shown.remark else [])]
    width = f"width: min({shown.columns * SIDE_PX}px, {45 if shown.columns == 1 else 100}%)"
    image: Node = ["img", {"src": thumbnails.uri(shown.png), "alt": shown.words, "style": width}]
    return [
        ["style", {}, STYLE],
        ["div", {"role": "group", "aria-label": "steps"}, *_steps(at, of)],
        ["div", {"class": "dfkd-enlarged"}, image, ["div", {}, *right]],
    ]


def _steps(at: int, of: int) -> list[Node]:
    return [
        step("back", "Back to the images", key="Escape", focus=True),
        step("previous", "Previous", key="ArrowLeft", disabled=at == 0),
        step("next", "Next", key="ArrowRight", disabled=at >= of - 1),
        ["span", {"role": "status"}, f"{at + 1:,} of {of:,}"],
    ]


def step(name: str, words: str, *, key: str = "", focus: bool = False, disabled: bool = False) -> Node:
    """A button that says ``name`` when it is pressed."""
    more = {"data-key": key} if key else {}
    more |= {"data-focus": "yes"} if focus else {}
    more |= {"disabled": "disabled"} if disabled else {}
    return ["button", {"type": "button", "class": "dfkd-step", "data-press": name, **more}, words]


def _bars(shown: Enlarged) -> Node:
    head: list[Node] = [["th", {"scope": "col"}, name] for name in ("class", "teacher", "student")]
    rows: list[Node] = [
        ["tr", {}, ["th", {"scope": "row", "title": name}, name], _bar("teacher", one), _bar("student", other)]
        for name, one, other in shown.probabilities
    ]
    return ["table", {"aria-label": "probabilities"}, ["thead", {}, ["tr", {}, *head]], ["tbody", {}, *rows]]


def _bar(who: str, value: float | None) -> Node:
    if value is None:
        return ["td", {"class": who}, UNKNOWN]
    return ["td", {"class": who}, f"{value:.3f}", ["i", {"style": f"width: {100 * value:.1f}%"}]]
