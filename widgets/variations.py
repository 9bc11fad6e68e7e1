"""The present choice of the panel as a grid: what it varies, and what its runs have in common."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import commands
from dfkd_lab.spec import THOUSANDS, RunSpec, record
from dfkd_lab.sweeps import Sweep, from_file
from dfkd_lab.system.plain_yaml import from_yaml
from widgets.choice import Choice
from widgets.steps import LABELS
from widgets.wording import in_short

NONE = "(nothing)"
FIRST = ("seed", "method", "student", "teacher", "rounds")
NEVER = ("out", "minutes", "checkpoint_s", "device")
RANGE = re.compile(r"(-?\d+)\s*\.\.\s*(-?\d+)")
PARTS = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,]*?)\s*(?:,|$)""")
"""Between commas, but for those in a value that is in quotes as a whole."""
QUOTES, QUOTED = ("'", '"'), '"balance=5,activation=0.1", "balance=10"'
OWN_COMMAS = {"terms": "", "data": "folder-pairs:"}
"""Settings of which a value may have commas, with what such a value has."""
MOST_VALUES = 1000
NUMBER = re.compile(r"-\d+$")


def axes(choice: Choice) -> tuple[str, ...]:
    """What can be varied of the method that is chosen: its settings, and those of every run."""
    found = [name for each in (choice.run_form, choice.method_form, choice.slot_form, choice.more_form)
             for name in each.fields]  # fmt: skip
    return (*FIRST, *(name for name in found if name not in (*FIRST, *NEVER)))


def offered(names: Sequence[str]) -> list[tuple[str, str]]:
    """``names`` as a list shows them, each with what it shows: first the words of the form, with the name behind them.

    A list is searched by how its entries begin, so those that have other words follow once more by their names.
    """
    called = {name: LABELS.get(name, name) for name in names}
    shown = [(name if word == name else f"{word}: {name}", name) for name, word in called.items()]
    return [*shown, *((f"{name}: {word}", name) for name, word in called.items() if word != name)]


def described(choice: Choice) -> str:
    """What is chosen, in a line; what was changed of the method's settings is named."""
    values = {name: field.value for name, field in choice.run_form.fields.items()}
    changed = {name: field.value for name, field in choice.method_form.fields.items() if field.changed}
    if choice.resolved:  # which knows how many fit into the minutes
        values["rounds"] = choice.resolved.spec.rounds
    capacity = choice.method_form.fields.get("capacity")
    return in_short({**values, "settings": {"capacity": capacity and capacity.value, **changed}}, changed)


def of_run(spec: RunSpec) -> str:
    """A run in a line, with what was changed of its method's settings, where its teacher is still there to tell."""
    changed: list[str] = []
    with contextlib.suppress(SpecError, RunError):
        changed = [name for name in commands.deciding(spec) if name in spec.settings]
    return in_short(record(spec), changed)


def sweep_of(choice: Choice, varied: Sequence[tuple[str, str]], root: Path) -> Sweep:
    """The runs of ``choice`` over ``varied``, pairs of a setting and the text of its values.

    The grid's name is made of the method and what is varied; an older grid of that name that has the same in common is
    added to, and from any other this one is told by a number.

    Raises:
        SpecError: if nothing is varied, or a text has no values; or as the panel refuses a single run.
    """
    grid = {name: values_of(name, text) for name, text in varied if name != NONE}
    if not grid:
        raise SpecError("vary = '(nothing)'; choose a setting in which the runs differ")
    if len(grid) < sum(name != NONE for name, _ in varied):
        raise SpecError(f"{next(iter(grid))} is varied twice; choose another setting, or {NONE}")
    common = _common(choice, grid)
    for cell in (sweep := Sweep(_name(choice, grid), grid, common, root)).cells():
        choice.trust.refuse(cell.settings)
    number = 1
    while (path := sweep.path / "sweep.yaml").exists() and dict(from_file(path).settings) != common:
        number += 1
        sweep = Sweep(f"{_name(choice, grid)}-{number}", grid, common, root)
    return sweep


def unlike(grid: Path) -> str:
    """What the grid in the folder ``grid`` has otherwise than the older one from which a number tells its name.

    Empty of any other grid, and where one of the two cannot be read.
    """
    older = grid.with_name(NUMBER.sub("", grid.name))
    with contextlib.suppress(SpecError):
        if older != grid and (older / "sweep.yaml").exists():
            ours, theirs = (_flat(from_file(each / "sweep.yaml").settings) for each in (grid, older))
            changed = [name for name in {**theirs, **ours} if repr(ours.get(name)) != repr(theirs.get(name))]
            return ", ".join(f"{name} = {ours.get(name, 'as in the preset')}" for name in changed)
    return ""


def _flat(common: Mapping[str, Any]) -> dict[str, Any]:
    return {**common, **common.get("settings", {}), "settings": None}


def values_of(name: str, text: str) -> list[Any]:
    """The values in "1, 2, 5", in "0..9", or in both; one in quotes may have commas.

    Raises:
        SpecError: if there are none, one is given twice, or a comma may also be part of a value.
    """
    found: list[Any] = []
    for part in _parts(name, text):
        if whole := RANGE.fullmatch(part):
            low, high = map(int, whole.groups())
            if not 0 <= high - low < MOST_VALUES:
                raise SpecError(f"{name} = {part}; allowed: up to {MOST_VALUES} whole numbers, the smallest first")
            found += range(low, high + 1)
            continue
        value, reason = from_yaml(part)
        if reason or isinstance(value, list | dict):
            raise SpecError(f"{name} = {part!r} is no value; allowed: as in 1, 2, 5 or 0..9")
        found.append(value)
    if not found:
        raise SpecError(f"{name} has no values; allowed: as in 1, 2, 5 or 0..9")
    if len({*map(str, found)}) < len(found):
        raise SpecError(f"{name} = {text!r} has a value twice")
    return found


def _parts(name: str, text: str) -> list[str]:
    """The texts between commas, as far as those can be told from commas in a value."""
    parts = [each for each in PARTS.findall(text) if each]
    if len(parts) > 1 and OWN_COMMAS.get(name, "\n") in text and not all(each[0] in QUOTES for each in parts):
        raise SpecError(f"{name} = {text!r}: a value of it may have commas; write each in quotes, as in {QUOTED}")
    if THOUSANDS.fullmatch(text.strip()):
        raise SpecError(
            f"{name} = {text!r} may be one number or {len(parts)}; write it without commas, or as in 1, 2, 5"
        )
    return parts


def _common(choice: Choice, grid: dict[str, list[Any]]) -> dict[str, Any]:
    """What all runs have in common."""
    fields = (choice.run_form.fields, choice.more_form.fields, choice.method_form.fields)
    for name, field in (each for some in fields for each in some.items()):
        if field.problem and name not in grid:
            raise SpecError(field.problem)
    values = choice.values()
    if out := values.pop("out"):
        raise SpecError(f"out = {out!r} is the folder of one run; leave it empty, and each run has its own")
    settings = {name: value for name, value in values.pop("settings").items() if name not in grid}
    if "rounds" in grid:
        values["minutes"] = 0.0
    common = {name: value for name, value in values.items() if name not in grid}
    return {**common, **({"settings": settings} if settings else {})}


def _name(choice: Choice, grid: dict[str, list[Any]]) -> str:
    method = "" if "method" in grid else f"{choice.run_form.fields['method'].value}-"
    return f"{method}over-{'-'.join(grid)}"
