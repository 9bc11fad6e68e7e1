"""What a person does with the run folders there are: note and tags, another name, into the bin and back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import contents, launching
from dfkd_lab.runs.folder import BIN, LONGEST_NAME, RunFolder, list_runs, named_folder, runs_root
from dfkd_lab.runs.standing import AT_WORK
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.locks import is_held

OF_A_SWEEP = ("sweep.yaml", "lock")
"""What lies beside the runs of a grid, and beside the trials of a search."""


def checked_label(note: str, tags: Sequence[str]) -> dict[str, str | list[str]]:
    """``note`` and ``tags`` as they are kept: each on one line, no tag twice, none empty.

    Raises:
        SpecError: if they are too long, too many, or cannot be printed.
    """
    lines = [" ".join(each.split()) for each in (note, *tags)]
    note, tags = lines[0], list(dict.fromkeys(filter(None, lines[1:])))
    if reason := contents.unfit_label(note, tags):
        raise SpecError(reason)
    return {"note": note, "tags": tags}


def write_label(folder: RunFolder, note: str = "", tags: Sequence[str] = ()) -> None:
    """Put a person's note and tags on a run, in place of those there were; also while it is at work.

    Args:
        folder: Of the run. It keeps its place among the newest.
        note: A line of up to 500 characters.
        tags: Up to 20, of up to 40 characters and without commas.

    Raises:
        SpecError: as :func:`checked_label`.
        RunError: if that is no run folder, or cannot be written.
    """
    label = checked_label(note, tags)
    _refuse_other(folder)
    file = folder.path / "label.json"
    with _said(f"cannot write {file}"):
        times = folder.path.stat()
        if any(label.values()):
            write_atomically(file, json.dumps(label, ensure_ascii=False).encode(), shared=True)
        else:
            file.unlink(missing_ok=True)
        os.utime(folder.path, ns=(times.st_atime_ns, times.st_mtime_ns))


def rename(folder: RunFolder, name: str) -> RunFolder:
    """Call a run folder ``name``, where it is; it goes on as the same run.

    Raises:
        SpecError: if that is no name for a run folder, or is taken.
        RunError: if the run is at work or of a sweep, or cannot be moved.
    """
    path = _beside(folder.path, name)
    _refuse_at_work(folder)
    parent = folder.path.parent
    if any((parent / each).exists() for each in OF_A_SWEEP):
        raise RunError(f"{folder.path} is of the sweep {parent.name}, which would compute it again; give it a note")
    if os.path.lexists(path):
        raise SpecError(f"name = {name!r} is taken in {parent}; give another")
    return _moved(folder, path)


def delete(folder: RunFolder, root: Path | str | None = None) -> RunFolder:
    """Move a run below ``root`` (or runs/) into its bin, and give where it is there; nothing is erased.

    Raises:
        SpecError: if it is not below ``root``, or in the bin already.
        RunError: if it is at work, or cannot be moved.
    """
    base = Path(root or runs_root())
    inside = _inside(folder, base)
    if inside.parts[0] == BIN:
        raise SpecError(f"{folder.path} is in the bin already")
    _refuse_at_work(folder)
    return _moved(folder, free(base / BIN / inside))


def restore(folder: RunFolder, root: Path | str | None = None, name: str = "") -> RunFolder:
    """Move a run out of the bin of ``root`` (or runs/), and give where it is then: with a number if that is taken.

    Args:
        folder: As :func:`delete` gave it, or ``list_runs(root / ".bin")`` has it.
        root: As it was deleted from.
        name: What it was called below ``root``, whatever that was; empty is as in the bin.

    Raises:
        SpecError: if it is not in that bin, or ``name`` leads out of ``root`` or into another run folder.
        RunError: if it cannot be moved.
    """
    base = Path(root or runs_root())
    inside = _inside(folder, base / BIN)
    path = base / (name or inside)
    if _inside(RunFolder(path), base).parts[0] == BIN:
        raise SpecError(f"name = {name!r} is in the bin; allowed: a name below {base}")
    if outer := next((each for each in path.parents if RunFolder(each).exists()), None):
        raise SpecError(f"{path} would be inside the run folder {outer}; give that one another name first")
    _refuse_other(folder)
    restored = _moved(folder, free(path))
    _remove_empty(base / BIN, inside)
    return restored


def empty_bin(root: Path | str | None = None, folders: Iterable[RunFolder] | None = None) -> int:
    """Erase runs in the bin of ``root`` (or runs/) for good, and folders that are empty then; gives how many runs.

    What is no run stays there, and so does what comes meanwhile.

    Args:
        root: As the runs were deleted from.
        folders: Those to be erased; None is all runs in the bin.

    Raises:
        SpecError: if one is not in that bin; then none is erased.
        RunError: if one is no run, is at work (likewise), or cannot be erased.
    """
    path = Path(root or runs_root()) / BIN
    found = {_inside(each, path): each for each in (list_runs(path) if folders is None else folders)}
    for each in found.values():
        _refuse_at_work(each)
    for inside, each in found.items():
        with _said(f"cannot erase {each.path}"):
            shutil.rmtree(each.path)
        _remove_empty(path, inside)
    return len(found)


def free(path: Path) -> Path:
    """``path``, or the first of path-2, path-3, ... where there is nothing."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def _beside(path: Path, name: str) -> Path:
    try:
        found = named_folder(name, path.parent)
    except SpecError:
        found = path.parent
    if found.name != name or found.parent != path.parent:
        raise SpecError(
            f"name = {name!r} is no name for a run folder; allowed: up to {LONGEST_NAME} bytes that can be printed, "
            "no '/', and neither '.' nor '~' in front"
        )
    return found


def _inside(folder: RunFolder, root: Path) -> Path:
    path, base = folder.path.resolve(), root.resolve()
    if path == base or not path.is_relative_to(base):
        raise SpecError(f"{folder.path} is not below {root}")
    return path.relative_to(base)


def _refuse_other(folder: RunFolder) -> None:
    if not folder.exists():
        raise RunError(f"{folder.path} is not a run folder (it has no spec.yaml)")


def _refuse_at_work(folder: RunFolder) -> None:
    _refuse_other(folder)
    with _said(f"cannot tell whether {folder.path} is at work"):
        # whoever holds the lock may have said nothing yet
        if folder.status()["state"] in AT_WORK or is_held(folder.path / "lock"):
            raise RunError(f"{folder.path} is at work; stop it first")
    if launching.is_starting(folder):
        raise RunError(f"{folder.path} is starting; stop it first")


def _moved(folder: RunFolder, path: Path) -> RunFolder:
    with _said(f"cannot move {folder.path} to {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.path.rename(path)
    return RunFolder(path)


def _remove_empty(bin: Path, inside: Path) -> None:
    """Remove the folders, and the bin, that are empty now that ``inside`` is gone from it."""
    with contextlib.suppress(OSError):  # something else is in it
        for parent in inside.parents:
            (bin / parent).rmdir()


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """What the system says, as a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{what}: {error.strerror}") from None
