"""What the files of a run folder must hold, and their readers.

A folder may be half copied, edited, of another version, or somebody else's: each of its files is read here and nowhere
else, and comes out as what the rest may rely on, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from dfkd_lab.engine.report import Report
from dfkd_lab.errors import DamagedFile, SpecError
from dfkd_lab.runs.maps import GAP
from dfkd_lab.system.plain_yaml import from_yaml
from dfkd_lab.system.stored import Fields, misfit, opened, parsed, read_json, read_text

T = TypeVar("T")
MOST_SPEC_BYTES = 2**15
CODE = Fields(others=Fields(known={"file": str, "sha256": str}))
SESSION = Fields(
    known={"started": str, "from_round": int, "device": str, "commit": str, "versions": Fields(), "code": CODE}
)
MANIFEST = Fields(
    known={
        "method": Fields(known={"name": str, "certainty": str, "replaced": Fields(others=str)}),
        "seed": int,
        "memory": Fields(known={"buffer_on": str}),
        "notes": [str],
        "teacher": Fields(
            known={
                **{"accuracy": (float, None), "parameters": (int, None), "sha256": str, "name": str},
                **{"net": str, "data": str},
                **{"class_names": [str], "iou": [(float, None)]},
            }
        ),
        "student": Fields(known={"net": str, "parameters": (int, None)}),
        "evaluation": (None, Fields(needed={"name": str, "n": int}, known={"images_sha256": str})),
        "sessions": [SESSION],
    }
)
RESULT = Fields(needed={"rounds": int, "seconds": float}, known={"metric": str}, others=(float, None))
STATUS = Fields(
    needed={"state": str, "round": int},
    known={
        **{"rounds": int, "message": str, "pid": int, "process_started": (int, None), "host": str, "time": float},
        **{"events_bytes": int, "result": RESULT},
    },
)
NOTES = Fields(needed={"notes": [str]})
SEALED = {"data_free": bool, "from_round": int, "sealed_rounds": int, "violations": [str]}
SEAL = Fields(
    known={
        **{"data_free": bool, "evaluation_set": str, "verdict": str, "rounds": int, "watched_rounds": int},
        "real_images": Fields(needed={"name": str, "n": int}),
        "sessions": [Fields(known={**SEALED, "watched": [str], "not_watched": Fields(others=str)})],
    },
)
LABEL = Fields(known={"note": str, "tags": [str]})
MOST_ROWS, MOST_SIDE = 100, 2**14
"""Of a grid of samples, whose own are fewer: rows, columns, and the pixels of an image's side."""
PNG = b"\x89PNG\r\n\x1a\n"
LONGEST_NOTE, LONGEST_TAG, MOST_TAGS = 500, 40, 20
"""Characters of a note and of a tag; tags of a run."""
MOST_LABEL_BYTES = 2**14
NUMBERS = Fields(others=(float, None))
EVENT = Fields(
    needed={
        "round": int,
        "rounds": int,
        "terms": NUMBERS,
        "student": NUMBERS,
        "health": Fields(needed={"agreement": float, "entropy": float, "confidence": float}, others=(float, None)),
        "alarms": [str],
        "accuracy": (float, None),
        "cost": Fields(others=float),
    },
    known={
        "s_lr": float,
        "metric": str,
        "details": Fields(known={"iou": [(float, None)]}, others=(float, None)),
        "shares": Fields(others=[float]),
        "memory": (
            Fields(
                known={
                    **dict.fromkeys(("images", "capacity", "oldest", "bytes", "replayed"), float),
                    "classes": [float],
                    "priorities": [float],
                }
            ),
            None,
        ),
    },
)
CELL = Fields(
    needed={"row": int, "column": int, "predicted": int, "confidence": (float, None), "asked": (int, None)},
)
MAPS = Fields(
    needed={
        **dict.fromkeys(("height", "width", "images"), int),
        "legend": [Fields(needed={"name": str, "color": [int]})],
        "agreement": float,
    }
)
SAMPLE = Fields(needed={"height": int, "width": int, "rows": int, "columns": int, "cells": [CELL]})
WITHOUT_MANIFEST = "remove it to go on without what it says of earlier sessions"
WITHOUT_SEAL = "remove it, and its rounds count as not watched"
WITHOUT_LABEL = "remove it, and the run has no note and no tags"
BEGIN_AGAIN = "put it back from a copy, or begin again in another folder (out)"


def manifest(folder: Path) -> dict[str, Any]:
    """Provenance; empty if there is none yet.

    Raises:
        DamagedFile: as all readers here.
    """
    return read_json(folder / "manifest.json", MANIFEST, WITHOUT_MANIFEST)


def notes(folder: Path) -> list[str]:
    """What was decided for the networks' sake."""
    found = read_json(folder / "notes.json", NOTES, "remove it, it decides nothing")
    return list(found.get("notes", []))


def seal(folder: Path) -> dict[str, Any]:
    """What the distillation read; empty if nothing is known."""
    return read_json(folder / "seal.json", SEAL, WITHOUT_SEAL)


def status(folder: Path) -> dict[str, Any]:
    """How the run stands, "damaged" if that cannot be read; empty if nothing is known."""
    try:
        return read_json(folder / "status.json", STATUS, "the run itself is not affected")
    except DamagedFile as error:
        return {"state": "damaged", "round": 0, "message": str(error)}


def label(folder: Path) -> dict[str, Any]:
    """A person's ``note`` and ``tags``, as :func:`unfit_label` allows them; both empty if there are none."""
    path = folder / "label.json"
    text = read_text(path, WITHOUT_LABEL, MOST_LABEL_BYTES)
    found = {"note": "", "tags": [], **({} if text is None else parsed(text, LABEL, path, WITHOUT_LABEL))}
    if reason := unfit_label(found["note"], found["tags"]):
        raise DamagedFile(f"{path} is damaged ({reason}); {WITHOUT_LABEL}")
    return found


def unfit_label(note: str, tags: Sequence[str]) -> str:
    """Why these cannot be a run's note and tags, naming what is allowed; empty if they can."""
    if len(note) > LONGEST_NOTE:
        return f"note has {len(note):,} characters; allowed: up to {LONGEST_NOTE}"
    if not note.isprintable():
        return f"note = {note!r} cannot be printed; allowed: a line of text"
    if len(tags) > MOST_TAGS:
        return f"tags are {len(tags):,}; allowed: up to {MOST_TAGS}"
    for tag in tags:
        if not 0 < len(tag) <= LONGEST_TAG or not tag.isprintable() or "," in tag:
            return f"tag = {tag[: LONGEST_TAG + 1]!r}; allowed: 1 to {LONGEST_TAG} characters of a line, and no comma"
    return ""


def sample(path: Path) -> dict[str, Any]:
    """What is known of a grid of samples; empty in folders from before that was kept."""
    cure = "remove it, and the grid is shown without"
    if (text := read_text(path, cure)) is None:
        return {}
    found = parsed(text, Fields(), path, cure)
    is_dense = "legend" in found
    reason = misfit(found, MAPS if is_dense else SAMPLE)
    reason = reason or (_unfit_maps if is_dense else _unfit_cells)(found)
    if reason := reason or _unlike(path.with_suffix(".png"), found):
        raise DamagedFile(f"{path} is damaged ({reason}); {cure}")
    return found


def _unfit_maps(found: Mapping[str, Any]) -> str:
    """Why no grid of dense predictions is so; empty if one may be."""
    if not 0 <= found["agreement"] <= 1:
        return "agreement is no fraction"
    for number, each in enumerate(found["legend"]):
        if len(each["color"]) != 3 or not all(0 <= part <= 255 for part in each["color"]):
            return f"legend[{number}].color is not red, green and blue to 255"
    return _outside(found, {"images": MOST_ROWS, "height": MOST_SIDE, "width": MOST_SIDE})


def _unfit_cells(found: Mapping[str, Any]) -> str:
    """Why no grid by class is so; empty if one may be."""
    most = {"rows": MOST_ROWS, "columns": MOST_ROWS, "height": MOST_SIDE, "width": MOST_SIDE}
    if reason := _outside(found, most):
        return reason
    places = [(each["row"], each["column"]) for each in found["cells"]]
    for number, (each, (row, column)) in enumerate(zip(found["cells"], places, strict=True)):
        if not (0 <= row < found["rows"] and 0 <= column < found["columns"]):
            return f"cells[{number}] is outside of the grid"
        if min(each["predicted"], each["asked"] or 0) < 0 or not 0 <= (each["confidence"] or 0) <= 1:
            return f"cells[{number}] has a class or a confidence that cannot be"
    return "two cells are in one place" if len({*places}) < len(places) else ""


def _outside(found: Mapping[str, Any], most: Mapping[str, int]) -> str:
    wrong = next((name for name, high in most.items() if not 0 < found[name] <= high), "")
    return f"{wrong} = {found[wrong]}, not from 1 to {most[wrong]}" if wrong else ""


def _unlike(grid: Path, found: Mapping[str, Any]) -> str:
    """Why the grid is not of the size that is said; empty if it is, or is no PNG."""
    if not grid.is_file():
        return ""
    with grid.open("rb") as file:
        start = file.read(24)
    if not start.startswith(PNG) or len(start) < 24:
        return ""
    gap, rows, columns = (GAP, found["images"], 3) if "legend" in found else (1, found["rows"], found["columns"])
    wide, high = columns * (found["width"] + gap) - gap, rows * (found["height"] + gap) - gap
    size = int.from_bytes(start[16:20]), int.from_bytes(start[20:24])
    return "" if size == (wide, high) else f"its grid is {size[0]} x {size[1]} pixels, and not {wide} x {high}"


def log(folder: Path) -> BinaryIO | None:
    """The log, open for its lines, each for :func:`report`; None if there is none yet."""
    return opened(folder / "events.jsonl", BEGIN_AGAIN)


def report(folder: Path, number: int, line: bytes) -> Report:
    """The report in line ``number`` of the log, from 1 on."""
    where = f"line {number} of {folder / 'events.jsonl'}"
    event = parsed(line, EVENT, where, BEGIN_AGAIN)
    if event["round"] != number:
        raise DamagedFile(f"{where} is damaged (it says round {event['round']}); {BEGIN_AGAIN}")
    return Report.from_event(event)


def spec(folder: Path) -> dict[str, Any] | None:
    """The values in spec.yaml as they stand there, not yet checked one by one; None if there is no such file."""
    path = folder / "spec.yaml"
    text = read_text(path, BEGIN_AGAIN, MOST_SPEC_BYTES)
    if text is None:
        return None
    values, reason = from_yaml(text)
    reason = reason or misfit(values, Fields())
    if not reason and not all(isinstance(name, str) for name in _names(values)):
        reason = "a name in it is no text"
    if reason:
        raise DamagedFile(f"{path} is damaged ({reason}); {BEGIN_AGAIN}")
    return dict(values)


def spoken_of(folder: Path, make: Callable[[], T]) -> T:
    """``make()``, whose complaints about settings name the spec they are from."""
    try:
        return make()
    except SpecError as error:
        raise type(error)(f"{folder / 'spec.yaml'}: {error}") from None


def _names(values: Any) -> list[Any]:
    nested = values.get("settings")
    return [*values, *(nested if isinstance(nested, dict) else ())]
