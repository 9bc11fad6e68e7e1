"""Synthetic images by class with the teacher's confidence: what a folder has of a round in, nodes of a page out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import Examination, RunFolder, contents
from dfkd_lab.runs import samples as grids
from widgets import buffer_browser, sample_maps, thumbnails
from widgets.enlarged import Enlarged
from widgets.figures import COLORS
from widgets.pressable import Node, markup
from widgets.status import AMBER, WARNING

SIDE_PX = 32
# One PNG for all cells, which each cell shows a place of; pixelated, because small images are blurred otherwise.
STYLE = f"""
table.dfkd-samples {{ border-collapse: collapse; line-height: 1; width: auto; }}
table.dfkd-samples th, table.dfkd-samples td {{ border: 0; padding: 1px 1px 2px; text-align: center; width: auto; }}
table.dfkd-samples th {{ font-weight: 600; font-size: 13px; padding-right: 4px; text-align: right; }}
table.dfkd-samples th small {{ font-weight: 400; max-width: 50px; overflow: hidden; text-overflow: ellipsis; }}
table.dfkd-samples i {{ display: block; margin: auto; width: var(--wide); height: var(--high);
    background-image: var(--sprites); background-size: var(--size); image-rendering: pixelated; }}
table.dfkd-samples small {{ font-size: 11px; letter-spacing: -0.02em; display: block; margin-top: 2px;
    white-space: nowrap; }}
table.dfkd-samples .other i {{ outline: 2px solid {AMBER}; outline-offset: -2px; }}
table.dfkd-samples .other small {{ color: {WARNING}; }}
img.dfkd-samples {{ image-rendering: pixelated; width: min(100%, 380px); }}
.dfkd-samples button {{ all: unset; display: block; cursor: pointer; }}
.dfkd-samples button:focus-visible {{ outline: 2px solid {COLORS[0]}; outline-offset: 1px; }}
"""
UNEXAMINED = (
    'What the student gives to each class is known once the run is examined (below the figure "classes"), of images '
    "that are in its memory then."
)


def read(path: Path) -> tuple[bytes, dict[str, Any] | None]:
    """The PNG of a sample grid, and what is known of its cells: None in folders from before that was kept."""
    return path.read_bytes(), contents.sample(path.with_suffix(".json")) or None


def images_in(facts: Mapping[str, Any] | None) -> int:
    """How many images of a grid can be enlarged; those of old folders, of which nothing is known, cannot."""
    return 0 if facts is None else int(facts["images"]) if "legend" in facts else len(facts["cells"])


def class_names(folder: RunFolder | None) -> tuple[str, ...]:
    """Of the outputs of a run's teacher, as its manifest has them; none before there is one, or of an older run."""
    try:
        return tuple(folder.manifest().get("teacher", {}).get("class_names", ())) if folder else ()
    except RunError:
        return ()


def called(place: int, names: Sequence[str]) -> str:
    """A class by its number, and by its name if that is another."""
    name = names[place] if place < len(names) else str(place)
    return str(place) if name == str(place) else f"{place} ({name})"


def eases_off(folder: RunFolder | None) -> bool:
    """Whether the run's target counts less where the teacher is sure of any class, as in SSD-KD by confidence."""
    try:
        settings = folder.spec().settings if folder else {}
    except (RunError, SpecError):
        return False
    return settings.get("modulate") == "confidence" and bool(settings.get("difficulty", True))


def caption(round: int, facts: Mapping[str, Any] | None, eased: bool = False) -> str:
    """What the grid of that round shows, in words; ``eased`` as :func:`eases_off` says."""
    if facts is not None and "legend" in facts:
        agreement = f"they agree on {facts['agreement']:.0%} of these pixels"
        return f"Round {round}: {sample_maps.WORDS}; {agreement}."
    rows = grids.ROWS if facts and int(facts["rows"]) >= grids.ROWS else 0
    text = f"Round {round}: a row for each {f'of the first {rows} classes' if rows else 'class'} the teacher sees"
    if facts is None:
        return text + "."
    targets = [cell for cell in facts["cells"] if cell["asked"] is not None]
    other = sum(cell["asked"] != cell["predicted"] for cell in targets)
    text += ", below each image its confidence in %."
    if targets:
        mark = f"<span style='color: {WARNING}'>≠ 7</span>"
        text += f" {mark} would be a target of 7 that it does not see: {other} of {len(targets)} miss theirs."
    if eased and 3 * other > len(targets):
        text += " Where the teacher is sure of any class, SSD-KD eases off the target."
    return text


def html(png: bytes, facts: Mapping[str, Any] | None, names: Sequence[str] = ()) -> str:
    """The grid for a page without a kernel."""
    return markup(*nodes(png, facts, names))


def nodes(
    png: bytes,
    facts: Mapping[str, Any] | None,
    names: Sequence[str] = (),
    *,
    pressable: bool = False,
    focus: int = -1,
) -> tuple[Node, ...]:
    """The grid; with ``facts``, each image with its confidence, and marked if it is not of its target class.

    Args:
        png: All images in one.
        facts: As its JSON has them.
        names: Of the classes; none where they have only numbers.
        pressable: Whether each image can be pressed.
        focus: The image where the keyboard goes on, or -1.
    """
    source, style = thumbnails.uri(png), ["style", {}, STYLE]
    if facts is not None and "legend" in facts:
        return style, *sample_maps.nodes(source, facts, focus if pressable else None)
    if facts is None:
        return style, ["img", {"class": "dfkd-samples", "alt": "Images by class", "src": source}]
    width, height = int(facts["width"]), int(facts["height"])
    # A whole number where images are small: then no cell shows a line of its neighbour.
    scale = max(1, round(SIDE_PX / width)) if width <= SIDE_PX else SIDE_PX / width
    wide, high = (width + 1) * scale, (height + 1) * scale
    size = f"{int(facts['columns']) * wide - scale:g}px {int(facts['rows']) * high - scale:g}px"
    place = f"--sprites: url({source}); --wide: {width * scale:g}px; --high: {height * scale:g}px; --size: {size}"
    rows = _rows(facts, names, wide, high, focus if pressable else None)
    return style, ["table", {"class": "dfkd-samples", "aria-label": "Images by class", "style": place}, *rows]


def of_cell(
    path: Path,
    cells: Sequence[Mapping[str, Any]],
    place: int,
    found: Examination | None,
    names: Sequence[str] = (),
) -> Enlarged:
    """An image of a grid, with what its JSON knows; and if it is among those examined, with what was found of it."""
    cell = cells[place]
    try:
        image = grids.read(path)[place : place + 1]
    except (RunError, OSError, ValueError) as error:  # somebody wrote another grid than its JSON says
        return Enlarged(b"", "no image", {}, remark=f"The image cannot be read: {error}")
    known = found.images.places.get(image.numpy().tobytes()) if found and found.images else None
    if found is not None and known is not None:
        return buffer_browser.of_examined(found, known)
    seen = f"class {called(cell['predicted'], names)}"
    facts = {"the teacher sees": seen}
    if cell["confidence"] is not None:
        facts["the teacher sees"] += f", {float(cell['confidence']):.3f}"
    facts["target class"] = "none" if cell["asked"] is None else called(cell["asked"], names)
    bars = [(seen, cell["confidence"], None)]
    return Enlarged(thumbnails.png(image), "; ".join(" ".join(each) for each in facts.items()), facts, bars, UNEXAMINED)


def _rows(
    facts: Mapping[str, Any], names: Sequence[str], wide: float, high: float, focus: int | None
) -> Iterator[Node]:
    places = [*enumerate(facts["cells"])]
    for row in range(int(facts["rows"])):
        cells = [_cell(cell, names, number, wide, high, focus) for number, cell in places if cell["row"] == row]
        yield ["tr", {}, _head(row, names), *(cells or [["td", {}, ["small", {}, "none"]]])]


def _head(row: int, names: Sequence[str]) -> Node:
    """The number of a class, and below it its name if it has one."""
    if called(row, names) == str(row):
        return ["th", {"scope": "row"}, str(row)]
    return ["th", {"scope": "row", "title": names[row]}, str(row), ["small", {}, names[row]]]


def _cell(
    cell: Mapping[str, Any], names: Sequence[str], number: int, wide: float, high: float, focus: int | None
) -> Node:
    """An image; as a button, unless ``focus`` is None."""
    other = cell["asked"] is not None and cell["asked"] != cell["predicted"]
    sure = "" if cell["confidence"] is None else f"{float(cell['confidence']):.0%}"
    target = f"target class {called(int(cell['asked']), names)}, " if cell["asked"] is not None else ""
    seen = f"the teacher sees {called(int(cell['predicted']), names)}"
    title = f"{target}{seen}{' with confidence ' + sure if sure else ''}"
    words = sure.removesuffix("%") + (f"≠{int(cell['asked'])}" if other else "")
    left, top = -int(cell["column"]) * wide, -int(cell["row"]) * high
    inside: list[Node] = [["i", {"style": f"background-position: {left:g}px {top:g}px"}], ["small", {}, words]]
    if focus is not None:
        more = {"data-focus": "yes"} if number == focus else {}
        inside = [["button", {"type": "button", "data-press": str(number), "aria-label": title, **more}, *inside]]
    return ["td", {"title": title, **({"class": "other"} if other else {})}, *inside]
