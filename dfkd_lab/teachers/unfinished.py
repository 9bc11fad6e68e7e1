"""The file that an unfinished training is kept in, the one before it, and who may write them."""

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dfkd_lab.errors import RunError, SpecError
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
        here = [str(file) for file in (path, _previous(path)) if file.exists()]
        what = f"{' and '.join(here)} cannot be read ({reasons[0]})"
        raise RunError(f"{what}; remove {'both' if len(here) > 1 else 'it'} to begin again")
    return False, ""


def refuse_another(path: Path, state: dict[str, Any], command: str, hashes: dict[str, str]) -> None:
    """Nothing but the training that was begun goes on, with the images and labels that it was begun with.

    Raises:
        RunError: otherwise.
    """
    if state["command"] != command:
        raise RunError(f"{path} holds another training ({state['command']}); remove it or give another --out")
    if state.get("data", hashes) != hashes:
        what = "was begun with other images or labels under the same name"
        raise RunError(f"{path} {what}; put those back, or remove it to begin again")


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only process that trains into ``path``.

    Raises:
        SpecError: if it cannot be written to.
        RunError: if another process does so now.
    """
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        cure = "let that one end, or give another --out"
        raise RunError(f"{path} is being written by another training; {cure}") from None
    try:
        yield
    finally:
        lock.release()
        if not path.exists():  # it is finished, and nobody has anything to wait for
            Path(lock.lock_file).unlink(missing_ok=True)


def check_place(out: str, path: Path) -> None:
    """Make the folder of a teacher, and refuse one that nothing can be written to, before anything is trained.

    Raises:
        SpecError: naming what ``out`` says.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tried = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        tried.touch()
        tried.unlink()
        for file in (path, path.with_name(path.name + ".part"), _previous(path.with_name(path.name + ".part"))):
            if file.is_dir():
                raise SpecError(f"out = '{out}': {file} is a folder; give another --out")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"out = '{out}' cannot be written to ({why}); give another --out") from None


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
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("it holds other things than numbers, and nothing of it is executed") from None
    return state
