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
from dfkd_lab.runs.folder import LESSONS, NOT_IDENTITY, runs_root
from dfkd_lab.runs.timing import duration
from dfkd_lab.spec import record
from widgets import status
from widgets.lessons import side_by_side

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
    lesson: str, arms: Mapping[Key, ResolvedRun], keep: Callable[[Session], None] | None = None
) -> dict[Key, RunFolder]:
    """Run each plan of ``arms`` that has not finished, below runs/lessons, and show how far it is.

    A folder is named after the plan, so that other settings are another run. Every round is evaluated, because a lesson
    shows it. Longer runs on a CPU are computed several at a time, unless ``keep`` is to be called after every round.
    """
    folders = {name: folder_of(lesson, each.spec) for name, each in arms.items()}
    left: dict[Key, ResolvedRun] = {
        name: arms[name].into(folder.path, evaluate_every=1)
        for name, folder in folders.items()
        if folder.status()["state"] != "finished"
    }
    handle = display(HTML(""), display_id=True)
    say = (lambda text: handle.update(HTML(text))) if handle else (lambda text: None)
    if keep is None and side_by_side.worthwhile([*left.values()]):
        _several(left, folders, say)
    else:
        for number, name in enumerate(folders, 1):
            if name in left:
                title = f"Run {number} of {len(folders)}: <b>{escape(words(name))}</b>"
                _one(Session(left[name]), keep, title, say)
    place = escape(str(runs_root() / LESSONS))
    say(f"<div role='status'>{len(folders)} run{'s' * (len(folders) > 1)} finished and kept in {place}.</div>")
    return folders


def _one(session: Session, keep: Callable[[Session], None] | None, title: str, say: Callable[[str], object]) -> None:
    """A run in this process."""
    shown = 0.0
    for _ in session:
        if keep:
            keep(session)
        if time.monotonic() - shown > PERIOD_S:
            shown = time.monotonic()
            line = status.line(session.folder.status(), session.folder.reports(), session.teacher_accuracy)
            say(title + line)


def _several(left: Mapping[Key, ResolvedRun], folders: Mapping[Key, RunFolder], say: Callable[[str], object]) -> None:
    """Runs in processes of their own; how far all are is how many of their rounds are done."""
    rounds, begun = sum(each.spec.rounds for each in left.values()), time.monotonic()
    before: int | None = None
    for _ in side_by_side.carry_out([*left.values()], PERIOD_S):
        states = {name: folders[name].status() for name in left}
        done = sum(found["round"] for found in states.values())
        before = done if before is None else before
        now = [
            f"<b>{escape(words(name))}</b> (round {found['round']} of {left[name].spec.rounds})"
            for name, found in states.items()
            if found["state"] == "running"
        ]
        finished = len(folders) - sum(found["state"] != "finished" for found in states.values())
        left_s = (rounds - done) * (time.monotonic() - begun) / (done - before) if done > before else None
        ahead = "" if left_s is None else f" · about {duration(left_s)} left"
        text = f"{finished} of {len(folders)} runs finished{ahead} · at work: {', '.join(now) or 'starting'}"
        bar = f"<progress value='{done}' max='{rounds}' aria-label='rounds done' style='width: 100%'></progress>"
        say(f"<div role='status' aria-live='polite'>{text}<br>{bar}</div>")


def folder_of(lesson: str, spec: RunSpec) -> RunFolder:
    """runs/lessons/<lesson>-<method>-<digest of the plan>."""
    identity = {name: value for name, value in record(spec).items() if name not in NOT_IDENTITY}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    return RunFolder(runs_root() / LESSONS / f"{lesson}-{spec.method}-{digest}")


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
