"""The student of a run, or of an export, as a module that takes images in [0, 1]."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfkd_lab import nets, teachers
from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.export import saved
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, own_code
from dfkd_lab.runs.networks import STUDENT
from dfkd_lab.runs.recorder import CHECKPOINT
from dfkd_lab.runs.standing import AT_WORK
from dfkd_lab.system.faults import article
from dfkd_lab.system.files import sha256_of
from dfkd_lab.system.stored import Fields, read_json
from dfkd_lab.teachers import Teacher, checkpoints

WEIGHTS = "model.safetensors"
"""Of an export."""
PARITY = "parity.json"
"""Of an export: what was proven of each file."""
PROVEN = Fields(needed={"files": Fields(others=Fields(known={"sha256": str}))})


def load_student(path: Path | str, net: Path | str = "") -> nn.Module:
    """A student, frozen, in eval mode and on the CPU: images [N, C, H, W] in [0, 1] -> logits [N, K], or [N, K, H, W].

    Args:
        path: A folder that ``export`` wrote, or a run folder.
        net: "FILE.py:NAME" if its network is a class of a Python file of yours, which is executed; else the file's card
            says it.

    Raises:
        SpecError: if there is no student, or its network is not to be had here.
        DamagedFile: if its weights are not those that ``export`` proved.
    """
    for name, value in (("path", path), ("net", net)):
        if not isinstance(value, (str, Path)):
            raise SpecError(f"{name} = {value!r} is {article(value)}; allowed: str or Path")
    files = [Path(path) / name for name in (WEIGHTS, STUDENT)]
    file = next((each for each in files if each.is_file()), None)
    if file is None:
        cure = f"; export takes what {CHECKPOINT} has" if has_student(RunFolder(path)) else ""
        what = f"neither {WEIGHTS} of an export nor {STUDENT} of a finished run"
        raise SpecError(f"{path} holds no student: {what}{cure}")
    proven = read_json(Path(path) / PARITY, PROVEN, "remove it to go on without that check")
    if file.name == WEIGHTS and proven and proven["files"].get(file.name, {}).get("sha256") != sha256_of(file):
        raise DamagedFile(f"{file} is not what {PARITY} beside it was written of; export it again")
    if net:
        nets.trust(str(net))
        return teachers.of_file(file, python_file.absolute(str(net))).model
    card = checkpoints.read(file).card
    if card and python_file.names_file(card.net):
        mine = python_file.short(card.net)
        raise SpecError(
            f"{file} is of the network '{mine}' in a Python file, and no checkpoint decides what is executed; "
            f"read that file, then: load_student({str(path)!r}, {str(Path(path) / mine)!r})"
        )
    return teachers.of_file(file).model


def of_run(folder: RunFolder, state: dict[str, Any] | None, trust_code: str = "") -> tuple[Teacher, bytes]:
    """The student of a run, with its card, the SHA-256 of its file and what that file holds.

    Of a run that has not finished it is the one of the last checkpoint, in the file that it would have.

    Args:
        folder: Of the run.
        state: As the run saved it last; None where nothing is saved.
        trust_code: Which text of the run's Python files may be executed, as ``own_code.TEXTS`` has it.

    Raises:
        RunError: if the run is on or has saved nothing, or names a Python file that is not trusted.
        SpecError: if its file cannot be read, or its network is not to be had here.
    """
    refuse_without_student(folder, state is not None)
    spec = folder.spec()
    if state is not None and not is_finished(folder):
        return saved.of_state(folder, spec, state, trust_code)
    own_code.admitted(dataclasses.replace(spec, teacher=""), trust_code, "export")
    file = folder.path / STUDENT
    return teachers.of_file(file, spec.student if python_file.names_file(spec.student) else ""), file.read_bytes()


def is_finished(folder: RunFolder) -> bool:
    """Whether the student is that of the last round."""
    return bool(folder.status()["state"] == "finished")


def has_student(folder: RunFolder) -> bool:
    """Whether there is a student to export: of a finished run, or of one that ended before and has saved a round."""
    if not folder.exists() or folder.status()["state"] in AT_WORK:
        return False
    return is_finished(folder) or (folder.path / CHECKPOINT).is_file()


def refuse_without_student(folder: RunFolder, is_saved: bool) -> None:
    """A run has a student when it has finished, or was stopped and has saved a round (``is_saved``).

    Raises:
        RunError: saying how the run stands.
    """
    if not folder.exists():
        raise RunError(f"{folder.path} is not a run folder (it has no spec.yaml)")
    status = folder.status()
    if status["state"] in AT_WORK:
        raise RunError(
            f"{folder.path} has no student yet: it is {status['state']}; wait until it is finished, or stop it"
        )
    if status["state"] != "finished":
        if is_saved:
            return
        stands = f"{status['state']} after round {status['round']} of {folder.spec().rounds}"
        stands = f"{stands}, and nothing is saved in {CHECKPOINT}"
        raise RunError(f"{folder.path} has no student yet: it is {stands}; continue with: resume {folder.path}")
    if not (folder.path / STUDENT).is_file():
        raise RunError(
            f"{folder.path / STUDENT} is gone; put it back from a copy, or run again in another folder (out)"
        )


def refuse_other_card(student: Teacher, manifest: Mapping[str, Any]) -> None:
    """The card of the student's file takes images as the teacher does, as the run recorded it.

    Raises:
        DamagedFile: naming what it says otherwise.
    """
    known, card = manifest.get("teacher", {}), student.card
    for name in ("shape", "classes", "mean", "std"):
        here = getattr(card, name)
        here = list(here) if isinstance(here, tuple) else here
        if name in known and known[name] != here:
            other = f"its card has {name} = {here}, and the run {known[name]}"
            raise DamagedFile(f"{student.path} is damaged ({other}); put it back from a copy")


def refuse_other_weights(student: Teacher, state: dict[str, Any]) -> None:
    """The file of the student holds what the run saved with its last round, bit for bit.

    Raises:
        DamagedFile: naming a tensor that it does not.
    """
    kept, here = state["student"], student.model.net.state_dict()
    for name, value in here.items():
        other = kept.get(f"net.{name}")
        if other is None or other.shape != value.shape or not torch.equal(other, value):
            raise DamagedFile(
                f"{student.path} is damaged ('{name}' is not what {CHECKPOINT} has); put it back from a copy"
            )
