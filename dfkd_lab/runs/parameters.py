"""What a notebook was given: in its parameters cell, and in the cell that papermill puts below it.

Papermill assigns whatever name it is told and looks at none of them, so a notebook has to look itself: at the names in
those two cells, which it finds in the history of its kernel (``In``).
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from dfkd_lab import methods
from dfkd_lab.errors import SpecError
from dfkd_lab.runs.planning import ResolvedRun, plan
from dfkd_lab.spec import RunSpec, check, settings_of, unknown

INJECTED = "# Parameters"
"""How the cell begins that papermill injects."""
PLAIN = (bool, int, float, str, dict, list, tuple, NoneType)
TYPES: dict[str, type] = {kind.__name__: kind for kind in (bool, int, float, str, dict)}


def from_namespace(namespace: Mapping[str, Any]) -> ResolvedRun:
    """The run that a notebook's parameters give, settings of the run and of its method: ``from_namespace(globals())``.

    All that is assigned in the latest cell that assigns ``method``, and in what papermill injected after it, is taken;
    what else the notebook has made is not. Without such a cell it is every setting that the namespace has, and outside
    a notebook every plain value.

    Raises:
        SpecError: as :func:`~dfkd_lab.runs.planning.plan`, also for a name that is no setting.
        RunError: as :func:`~dfkd_lab.runs.planning.plan`.
    """
    cells = _cells(namespace)
    method = methods.METHODS.get(str(namespace.get("method", RunSpec().method)))
    known = {*settings_of(RunSpec), *(settings_of(method) if method else ())}
    given = _given(cells, known) if cells else {name for name in namespace if not name.startswith("_")}
    values = {name: _plain(value) for name, value in namespace.items() if name in given}
    return plan({name: value for name, value in values.items() if name in known or isinstance(value, PLAIN)})


def _given(cells: list[str], known: set[str]) -> set[str]:
    """What the latest cell that assigns ``method`` assigns, and what papermill injected after it.

    Where no cell does, every setting that the notebook may have made.
    """
    own = [at for at, cell in enumerate(cells) if "method" in assigned(cell) and not _injected(cell)]
    begin = own[-1] if own else 0
    injected = {name for cell in cells[begin:] if _injected(cell) for name in assigned(cell)}
    return injected | (set(assigned(cells[begin])) if own else known)


def _plain(value: Any) -> Any:
    """A number of NumPy's, or a path, as Python's own."""
    if isinstance(value, Path):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def check_parameters(namespace: MutableMapping[str, Any]) -> None:
    """Refuse what papermill gave this notebook and its parameters cell does not have: ``check_parameters(globals())``.

    Text is turned into the type that the parameters cell says, in place.

    Raises:
        SpecError: naming the parameter, and the nearest known one or what is allowed.
    """
    cells = _cells(namespace)
    at = next((at for at in reversed(range(len(cells))) if _injected(cells[at])), None)
    if at is None:
        return
    known = {name: kind for cell in cells[:at] if not _injected(cell) for name, kind in assigned(cell).items()}
    for name in assigned(cells[at]).keys() & namespace.keys():
        namespace[name] = check_parameter(name, namespace[name], known)


def check_parameter(name: str, value: Any, known: Mapping[str, str]) -> Any:
    """``value`` as the type, by name, that parameter ``name`` has.

    Raises:
        SpecError: if it is not ``known``, or the value is no such thing.
    """
    if not known:
        raise SpecError(
            f"this notebook takes no parameters, not {name} = {value!r}; 10_run.ipynb takes a run's settings"
        )
    if name not in known:
        raise SpecError(unknown(name, known, "parameter of this notebook"))
    if known[name] not in TYPES:
        return value
    holder = dataclasses.make_dataclass("Parameters", [(name, TYPES[known[name]])])
    return check(holder, name, value)


def assigned(cell: str) -> dict[str, str]:
    """The names that a cell assigns, each with its annotation; a cell that is not Python assigns none."""
    try:
        lines = list(ast.walk(ast.parse(cell)))
    except SyntaxError:
        return {}
    stored = {line.id: "" for line in lines if isinstance(line, ast.Name) and isinstance(line.ctx, ast.Store)}
    annotated = [line for line in lines if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)]
    return stored | {line.target.id: ast.unparse(line.annotation) for line in annotated}  # type: ignore[union-attr]


def _cells(namespace: Mapping[str, Any]) -> list[str]:
    """What a notebook has executed so far; nothing outside one."""
    history = namespace.get("In")
    return [cell for cell in history if isinstance(cell, str)] if isinstance(history, list) else []


def _injected(cell: str) -> bool:
    return cell.startswith(INJECTED)
