"""What is known of the teacher and the student before a run, measured away from the thread that hears clicks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets
import torch

from dfkd_lab import data, nets, teachers
from dfkd_lab.spec import SpecError

TRAIN = "from dfkd_lab import teachers; teachers.cached_digits_teacher()"


class Cards:
    """The teacher's card and the student's; ``show`` comes back at once, and a thread fills them in."""

    def __init__(self) -> None:
        self.teacher, self.student = (
            ipywidgets.HTML(layout=ipywidgets.Layout(flex=flex, min_width="0", margin="2px 12px 2px 0"))
            for flex in ("3 1 340px", "1 1 200px")
        )
        self._wanted: tuple[str, ...] = ()
        self._at_work = threading.Lock()

    def show(self, name: str, normalization: str, evaluation: str, student: str) -> None:
        """Show the cards of this choice; what was asked for before is forgotten."""
        wanted = (name, normalization, evaluation, student)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._say(wanted, _card("Teacher", f"looking at {name} ..."), _card("Student", student))
        threading.Thread(target=self._fill, args=wanted, name="dfkd_lab teacher card", daemon=True).start()

    def _fill(self, *wanted: str) -> None:
        with self._at_work:
            if wanted != self._wanted:
                return
            name, normalization, evaluation, student = wanted
            try:
                _train_if_missing(name)
                teacher = teachers.load(name, normalization, evaluation)
                facts = teacher.describe()
                self._say(wanted, teacher_card(facts, "being measured ..."), student_card(student, facts))
                measured, warning = accuracy(teacher, evaluation)
                self._say(wanted, teacher_card(facts, measured, warning), student_card(student, facts))
            except (SpecError, OSError) as error:
                self._say(wanted, _card("Teacher", str(error)), _card("Student", student))

    def _say(self, wanted: tuple[str, ...], teacher: str, student: str) -> None:
        if wanted == self._wanted:
            self.teacher.value, self.student.value = teacher, student


def accuracy(teacher: teachers.Teacher, evaluation: str) -> tuple[str, str]:
    """The teacher's accuracy on an evaluation set, in words, or why there is none; and a warning, or nothing."""
    try:
        split = data.evaluation_set(evaluation, teacher.card.shape)
        found = teachers.examine(teacher, split)
    except SpecError as error:
        return f"not measured: {error}", ""
    if split is None or found is None:
        return "not measured: no evaluation set is chosen", ""
    where = f"on {evaluation} ({len(split.labels):,} images)"
    return f"{found.accuracy:.3f} {where}, calibration error {found.error:.3f}", found.warning()


def teacher_card(facts: Mapping[str, Any], measured: str, warning: str = "") -> str:
    """The card of a teacher from :meth:`dfkd_lab.teachers.Teacher.describe`, as HTML."""
    channels, height, width = facts["shape"]
    norms = facts["batch_norm_layers"]
    return _card(
        f"Teacher {facts['name']}",
        f"{facts['net']}, {facts['parameters']:,} parameters, {norms} batch-norm layers",
        f"{facts['classes']} classes, images {channels} x {height} x {width}; accuracy {measured}",
        f"input (x - mean) / std, mean {_numbers(facts['mean'])}, std {_numbers(facts['std'])}",
        f"sha256 {facts['sha256'][:12]}" + (f"; trained on {facts['data']}" if facts["data"] else ""),
        *([f"Warning: {warning}"] if warning else []),
    )


def student_card(net: str, teacher: Mapping[str, Any]) -> str:
    """The card of a student for that teacher, as HTML."""
    with torch.device("meta"):  # counts without drawing random numbers, which a run in this kernel may be using
        parameters = nets.parameter_count(nets.classifier(net, teacher["shape"][0], teacher["classes"]))
    ratio = teacher["parameters"] / parameters
    size = f"{ratio:.3g} times smaller than" if ratio >= 1 else f"{1 / ratio:.3g} times as large as"
    return _card(f"Student {net}", f"{parameters:,} parameters", f"{size} the teacher")


def _train_if_missing(name: str) -> None:
    """Train the digits teacher in another process: here it would share random numbers with other threads."""
    if name in teachers.BUILT_IN and not any(teachers.cache().glob(f"{name}-*.safetensors")):
        done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SpecError(f"the {name} teacher could not be trained: {done.stderr.strip().splitlines()[-1]}")


def _card(title: str, *lines: str) -> str:
    """Everything in it is escaped, for names may come from files."""
    rows = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return f"<div style='line-height: 1.35'><b>{escape(title)}</b>{rows}</div>"


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
