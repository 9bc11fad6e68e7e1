"""What the manifest and the seal's record say, as plain values."""

from __future__ import annotations

from typing import Any

from torch import nn

from dfkd_lab import data, methods, nets
from dfkd_lab.errors import RunError
from dfkd_lab.methods import composition
from dfkd_lab.nets import python_file
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.seal import Seal
from dfkd_lab.spec import RunSpec
from dfkd_lab.teachers import Teacher


def of_plan(spec: RunSpec) -> dict[str, Any]:
    """The method with its certainty and replaced slots, and the seed."""
    certainty = methods.find(spec.method).certainty
    return {
        "method": {"name": spec.method, "certainty": certainty, "replaced": composition.replaced(spec)},
        "seed": spec.seed,
    }


def of_student(spec: RunSpec, student: nn.Module) -> dict[str, Any]:
    """The student's network, without the folders of a Python file that it is from, and its size."""
    net = python_file.short(spec.student)
    return {"net": net, **nets.revision(net), "parameters": nets.parameter_count(student)}


def of_images(name: str, real: data.Split) -> dict[str, Any]:
    """The real images a reference was given."""
    return {"name": name, "n": len(real.labels), "images_sha256": real.hashes()["images_sha256"]}


def refuse_other_teacher(folder: RunFolder, teacher: Teacher) -> None:
    """The teacher that a run was begun with, or nothing.

    Raises:
        RunError: if its weights are others by now.
    """
    before = folder.manifest().get("teacher", {}).get("sha256")
    if before and teacher.sha256 and before != teacher.sha256:
        what = f"{teacher.path} has sha256 {teacher.sha256[:16]}, and {folder.path} was begun with {before[:16]}"
        raise RunError(f"another teacher: {what}; put that one back, or take another --out")


def of_evaluation(name: str, split: data.Split | None) -> dict[str, Any] | None:
    """The images a student is measured on, and how they were read if they are a folder's; None without data."""
    if split is None:
        return None
    reading = {"reading": split.reading, "classes": list(split.class_names)} if split.reading else {}
    return {"name": name, "n": len(split.labels), **split.hashes(), **reading}


def of_seal(
    folder: RunFolder, seal: Seal, rounds: int, spec: RunSpec, teacher: Teacher, real: data.Split | None
) -> dict[str, Any]:
    """Whether the run read any real data, what it was given, and what each session read; ``rounds`` are this one's."""
    sessions = sealed_sessions(folder, seal, rounds, given_images=real is not None)
    return {
        "data_free": all(session["data_free"] for session in sessions),
        "teacher_file": {"name": teacher.path.name, "sha256": teacher.sha256},
        "evaluation_set": spec.data,
        **({} if real is None else {"real_images": of_images(spec.data, real)}),
        "sessions": sessions,
    }


def sealed_sessions(folder: RunFolder, seal: Seal, rounds: int, *, given_images: bool) -> list[dict[str, Any]]:
    """What each session's distillation read: those before, and this one with its ``rounds``, if there is any news."""
    before = folder.seal().get("sessions", [])
    if not (rounds or seal.violations or not before):
        return list(before)
    record = seal.record()
    return [*before, {"sealed_rounds": rounds, **record, "data_free": record["data_free"] and not given_images}]
