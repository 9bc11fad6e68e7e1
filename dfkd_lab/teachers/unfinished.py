"""The file that an unfinished training is kept in, and the one before, for when it is damaged."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfkd_lab.errors import RunError
from dfkd_lab.system.files import set_aside, write_atomically


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state``, and keep the file that was there before.

    Raises:
        OSError: if it cannot be written.
    """
    set_aside(path, _previous(path))
    write_atomically(path, partial(torch.save, state))


def load(path: Path, take: Callable[[dict[str, Any]], None]) -> tuple[bool, str]:
    """Have ``take`` go on from the newest state that is as it was saved.

    Gives whether there is one, and what was wrong with the newest if another is taken.

    Raises:
        RunError: if none can be read, or as ``take``.
    """
    reasons: list[str] = []
    for file in (path, _previous(path)):
        if not file.exists():
            continue
        try:
            take(_read(file))
        except RunError:
            raise
        except Exception as error:
            reasons.append((str(error) or type(error).__name__).splitlines()[0][:120])
            continue
        if not reasons:
            return True, ""
        damaged = path.with_name(path.name + ".damaged")
        path.replace(damaged)
        return True, f"{path} cannot be read ({reasons[0]}; it is {damaged.name} now)"
    if reasons:
        raise RunError(f"{path} cannot be read ({reasons[0]}); remove it to begin again")
    return False, ""


def forget(path: Path) -> None:
    """Remove both: the training is finished."""
    for file in (path, _previous(path)):
        file.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def _read(file: Path) -> dict[str, Any]:
    """What torch saved, after a look at the checksum of each of its parts, which torch does not take itself.

    Raises:
        ValueError: if one of them is damaged; of a file that is no archive what zipfile and torch raise.
    """
    with zipfile.ZipFile(file) as parts:
        if damaged := parts.testzip():
            raise ValueError(f"its part {damaged} is damaged")
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state
