"""Sweeps as people write them: a YAML file, or the parameters of a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.spec import unknown
from dfkd_lab.sweeps.grid import EXAMPLE, Sweep
from dfkd_lab.system.files import no_file
from dfkd_lab.system.plain_yaml import from_yaml
from dfkd_lab.system.stored import read_text

KEYS = ("name", "grid", "with")


def from_file(path: Path | str, root: Path | None = None) -> Sweep:
    """The sweep that a YAML file describes, with ``name``, ``grid`` and ``with``.

    Raises:
        SpecError: if it cannot be read, or is no sweep.
    """
    found = parts_of(path)
    return Sweep(found.get("name", Path(path).stem), found.get("grid", {}), found.get("with") or {}, root)


def parts_of(path: Path | str) -> Mapping[str, Any]:
    """What a sweep's file says, by :data:`KEYS`.

    Raises:
        SpecError: if it cannot be read, or says something else.
    """
    try:
        text = read_text(Path(path), "give another file", most=2**20)
    except RunError as error:
        raise SpecError(str(error)) from None
    if text is None:
        raise SpecError(f"{no_file(Path(path))}; a sweep is a YAML file, {EXAMPLE}")
    found, reason = from_yaml(text)
    if reason:
        raise SpecError(f"{path} cannot be read ({reason}); a sweep is a YAML file, {EXAMPLE}")
    if not isinstance(found, Mapping):
        raise SpecError(f"{path} is no sweep; {EXAMPLE}")
    for key in found:
        if key not in KEYS:
            raise SpecError(f"{path}: {unknown(str(key), KEYS, 'part of a sweep')}")
    return found


def from_text(name: str, grid: str, settings: str = "", root: Path | None = None) -> Sweep:
    """The sweep whose grid and common settings are YAML, as the parameters of a notebook are.

    Raises:
        SpecError: if one cannot be read, or it is no sweep.
    """
    found = {}
    for part, text in (("grid", grid), ("settings", settings or "{}")):
        found[part], reason = from_yaml(text)
        if reason:
            raise SpecError(f"{part} = {text!r} cannot be read ({reason}); {EXAMPLE}")
    return Sweep(name, found["grid"], found["settings"], root)
