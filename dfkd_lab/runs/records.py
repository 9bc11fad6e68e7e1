"""What the manifest and the seal's record say, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from dfkd_lab import data, methods, nets
from dfkd_lab.errors import RunError
from dfkd_lab.methods import composition
from dfkd_lab.nets import python_file
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.seal import Seal
from dfkd_lab.spec import RunSpec
from dfkd_lab.teachers import Card, Measurement, Teacher, class_order


def of_plan(spec: RunSpec, task: str) -> dict[str, Any]:
    """The method with its certainty for the teacher's ``task`` and its replaced slots, and the seed."""
    certainty = methods.certainty(methods.find(spec.method), task)
    return {
        "method": {"name": spec.method, "certainty": certainty, "replaced": composition.replaced(spec)},
        "seed": spec.seed,
    }


def of_teacher(
    teacher: Teacher, measured: Measurement | None, split: data.Split | None, evaluated_on: str
) -> dict[str, Any]:
    """The teacher, what was measured of it on ``split`` of a data set, and what its outputs are called."""
    names = class_order.shown_names(teacher.card, split, evaluated_on)
    return {"accuracy": None, **teacher.describe(measured), "class_names": list(names)}


def of_student(spec: RunSpec, student: nn.Module) -> dict[str, Any]:
    """The student's network, without the folders of a Python file that it is from, and its size."""
    net = python_file.short(spec.student)
    return {"net": net, **nets.revision(net), "parameters": nets.parameter_count(student)}


def card_of_student(spec: RunSpec, teacher: Teacher) -> Card:
    """What the file of a student says of it: the teacher's images and classes, its network, and where it is from."""
    net, recipe = python_file.short(spec.student), f"{spec.method} from {teacher.sha256}"
    return replace(teacher.card, net=net, data="", recipe=recipe)


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
        raise RunError(f"another teacher: {what}; put that one back, or take another folder (out)")


def of_evaluation(name: str, split: data.Split | None) -> dict[str, Any] | None:
    """The images a student is measured on, and how they were read if they are a folder's; None without data."""
    if split is None:
        return None
    reading = {"reading": split.reading, "classes": list(split.class_names)} if split.reading else {}
    return {"name": name, "n": len(split.labels), **split.hashes(), **reading}


def of_seal(
    seal: Seal, before: list[dict[str, Any]], at: range, spec: RunSpec, teacher: Teacher, given: dict[str, Any] | None
) -> dict[str, Any]:
    """Whether the run read any real data, in how many of its rounds that was watched, and what each session read.

    Args:
        seal: This session's.
        before: What :func:`kept_sessions` has of those before it.
        at: The rounds that this session has done, the first of them counted from 0.
        spec: The run.
        teacher: Its teacher.
        given: What :func:`of_images` says of the real images that a reference was given; None for no such images.
    """
    sessions = before
    if at or seal.violations or not before:
        record = seal.record()
        here = {"from_round": at.start, "sealed_rounds": len(at), **record}
        sessions = [*before, {**here, "data_free": record["data_free"] and given is None}]
    watched = sum(session["sealed_rounds"] for session in sessions)
    found = {
        "data_free": watched == at.stop and all(session.get("data_free") for session in sessions),
        "rounds": at.stop,
        "watched_rounds": watched,
        "not_watched": {way: text for each in sessions for way, text in each.get("not_watched", {}).items()},
        "teacher_file": {"name": teacher.path.name, "sha256": teacher.sha256},
        "evaluation_set": spec.data,
        **({} if given is None else {"real_images": given}),
        "sessions": sessions,
    }
    return {"verdict": verdict(found, at.stop), **found}


def kept_sessions(folder: RunFolder, first_round: int) -> list[dict[str, Any]]:
    """What the seal's record has of earlier sessions, as far as the run goes on from ``first_round`` of theirs.

    Rounds behind the checkpoint that a session begins with are forgotten, and done again by that session.
    """
    kept: list[dict[str, Any]] = []
    end = 0
    for session in folder.seal().get("sessions", []):
        start = session.get("from_round", end)  # older records have none
        end = max(start, min(start + session.get("sealed_rounds", 0), first_round))
        kept.append({**session, "from_round": start, "sealed_rounds": end - start})
    return kept


def verdict(seal: Mapping[str, Any], rounds: int) -> str:
    """What may be said of a run's data-freeness, from ``seal.json`` and the ``rounds`` that the run has."""
    sessions = seal.get("sessions", [])
    if given := seal.get("real_images"):
        return f"was given {given['n']:,} real images of {given['name']}: it is a reference, not data-free"
    if any(session.get("violations") for session in sessions):
        return "READ DATA, or opened a way to it: see seal.json"
    watched = min(rounds, sum(session.get("sealed_rounds", 0) for session in sessions))
    if watched < rounds:
        return f"was watched in {watched} of {rounds} rounds; what the others read is not known"
    return f"was watched in {rounds} of {rounds} rounds, and read no real data in a way that the seal sees"
