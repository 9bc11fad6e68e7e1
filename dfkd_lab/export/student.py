"""The student of a finished run, or of an export, as a module that takes images in [0, 1]."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfkd_lab import nets, teachers
from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, own_code
from dfkd_lab.runs.networks import STUDENT
from dfkd_lab.runs.recorder import CHECKPOINT
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
        raise SpecError(f"{path} holds no student: neither {WEIGHTS} of an export nor {STUDENT} of a finished run")
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


def of_run(folder: RunFolder, trust_code: str = "") -> Teacher:
    """The student of a finished run, with its card and the SHA-256 of its file.

    Args:
        folder: Of the run.
        trust_code: Which text of the student's Python file may be executed, as ``own_code.TEXTS`` has it.

    Raises:
        RunError: if the run is not finished, or names a Python file that is not trusted.
        SpecError: if its file cannot be read, or its network is not to be had here.
    """
    refuse_unfinished(folder)
    spec = folder.spec()
    own_code.admitted(dataclasses.replace(spec, teacher=""), trust_code, "export")
    file = folder.path / STUDENT
    return teachers.of_file(file, spec.student if python_file.names_file(spec.student) else "")


def refuse_unfinished(folder: RunFolder) -> None:
    """Only a finished run has a student.

    Raises:
        RunError: saying how the run stands.
    """
    if not folder.exists():
        raise RunError(f"{folder.path} is not a run folder (it has no spec.yaml)")
    status = folder.status()
    if status["state"] in ("running", "paused"):
        raise RunError(f"{folder.path} has no student yet: it is {status['state']}; wait until it is finished")
    if status["state"] != "finished":
        stands = f"{status['state']} after round {status['round']} of {folder.spec().rounds}"
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
    saved, here = state["student"], student.model.net.state_dict()
    for name, value in here.items():
        other = saved.get(f"net.{name}")
        if other is None or other.shape != value.shape or not torch.equal(other, value):
            raise DamagedFile(
                f"{student.path} is damaged ('{name}' is not what {CHECKPOINT} has); put it back from a copy"
            )
