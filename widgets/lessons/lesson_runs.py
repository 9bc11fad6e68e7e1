"""The runs of a lesson: computed once, read ever after."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, TypeVar

import torch
from IPython.display import HTML, display
from torch import Tensor

from dfkd_lab import ResolvedRun, RunFolder, RunSpec, Session
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import resolve
from dfkd_lab.runs.folder import NOT_IDENTITY, runs_root
from dfkd_lab.spec import record
from widgets import status

PERIOD_S = 0.5
ROWS = ("images", "labels", "predicted", "priorities")
"""What a buffer keeps of each image."""
Key = TypeVar("Key", str, tuple[str, int])


def vary(arms: Mapping[str, ResolvedRun], **setting: tuple[int, ...]) -> dict[tuple[str, int], ResolvedRun]:
    """Every plan of ``arms`` with every value of one setting: ``vary(arms, seed=(0, 1))``."""
    ((name, values),) = setting.items()
    return {(arm, value): _with(each.spec, name, value) for arm, each in arms.items() for value in values}


def _with(spec: RunSpec, name: str, value: int) -> ResolvedRun:
    """The run of ``spec`` with one setting, of the run or of its method, replaced."""
    if name in spec.settings:
        return resolve(dataclasses.replace(spec, settings={**spec.settings, name: value}))
    changed: dict[str, Any] = {name: value}
    return resolve(dataclasses.replace(spec, **changed))


def run(
    lesson: str, arms: Mapping[Key, ResolvedRun], keep: Callable[[Session], None] = lambda session: None
) -> dict[Key, RunFolder]:
    """Run each plan of ``arms`` that has not finished, below runs/lessons, and show how far it is.

    A folder is named after the plan, so that other settings are another run. ``keep`` is called after every round, and
    every round is evaluated, because a lesson shows it.
    """
    folders = {name: folder_of(lesson, each.spec) for name, each in arms.items()}
    handle = display(HTML(""), display_id=True)
    for number, (name, folder) in enumerate(folders.items(), 1):
        if folder.status()["state"] == "finished":
            continue
        session, shown = Session(arms[name].into(folder.path, evaluate_every=1)), 0.0
        for _ in session:
            keep(session)
            if handle and time.monotonic() - shown > PERIOD_S:
                shown = time.monotonic()
                line = status.line(folder.status(), folder.reports(), session.teacher_accuracy)
                handle.update(HTML(f"Run {number} of {len(folders)}: <b>{escape(words(name))}</b>{line}"))
    if handle:
        place = escape(str(runs_root() / "lessons"))
        handle.update(
            HTML(f"<div role='status'>{len(folders)} run{'s' * (len(folders) > 1)} finished and kept in {place}.</div>")
        )
    return folders


def folder_of(lesson: str, spec: RunSpec) -> RunFolder:
    """runs/lessons/<lesson>-<method>-<digest of the plan>."""
    identity = {name: value for name, value in record(spec).items() if name not in NOT_IDENTITY}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    return RunFolder(runs_root() / "lessons" / f"{lesson}-{spec.method}-{digest}")


def accuracies_of(folder: RunFolder) -> list[float]:
    """The student's accuracy by round; a lesson evaluates every one."""
    return [report.accuracy for report in folder.reports() if report.accuracy is not None]


def words(name: str | tuple[Any, ...]) -> str:
    """The name of a run as a person reads it."""
    return name if isinstance(name, str) else ", ".join(str(part) for part in name)


def stored(folder: RunFolder) -> dict[str, Tensor]:
    """What a finished run's buffer holds: images [N, C, H, W] in [0, 1], labels, predicted, and priorities if any."""
    checkpoint = torch.load(folder.path / "checkpoint.pt", map_location="cpu", weights_only=True)
    memory = checkpoint["modules"]["memory"]
    written = int(memory["written"])
    rows = {name: memory[name][:written] for name in ROWS if name in memory}
    return {**rows, "images": to_float(rows["images"])}
