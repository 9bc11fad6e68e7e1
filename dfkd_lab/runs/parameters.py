"""What a notebook was given: in its parameters cell, and in the cell that papermill puts below it.

Papermill assigns whatever name it is told and looks at none of them, so a notebook has to look itself: at the names in
those two cells, which it finds in the history of its kernel (``In``).
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, MutableMapping
from types import NoneType
from typing import Any

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
    given = _given(cells)
    if not given:
        method = methods.METHODS.get(str(namespace.get("method")))
        known = [*settings_of(RunSpec), *(settings_of(method) if method else ())]
        given = {name for name in namespace if (name in known if cells else not name.startswith("_"))}
    return plan({name: value for name, value in namespace.items() if name in given and isinstance(value, PLAIN)})


def _given(cells: list[str]) -> set[str]:
    """What the latest cell that assigns ``method`` assigns, and what papermill injected after it."""
    own = [at for at, cell in enumerate(cells) if "method" in assigned(cell) and not _injected(cell)]
    latest = cells[own[-1]] if own else ""
    injected = [cell for cell in cells[own[-1] if own else 0 :] if _injected(cell)]
    return {name for cell in (latest, *injected) for name in assigned(cell)}


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
    for name in assigned(cells[at]):
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
    """The names that the lines of a cell assign, each with its annotation; a cell that is not Python assigns none."""
    try:
        lines = ast.parse(cell).body
    except SyntaxError:
        return {}
    names: dict[str, str] = {}
    for line in lines:
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        kind = ast.unparse(line.annotation) if isinstance(line, ast.AnnAssign) else ""
        names |= {target.id: kind for target in targets if isinstance(target, ast.Name)}
    return names


def _cells(namespace: Mapping[str, Any]) -> list[str]:
    """What a notebook has executed so far; nothing outside one."""
    history = namespace.get("In")
    return [cell for cell in history if isinstance(cell, str)] if isinstance(history, list) else []


def _injected(cell: str) -> bool:
    return cell.startswith(INJECTED)
