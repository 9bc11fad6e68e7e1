"""What is known of the teacher and the student before a run, measured away from the thread that hears clicks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets
import torch

from dfkd_lab import data, nets, teachers
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.runs import ResolvedRun
from dfkd_lab.system.rng import preserved
from dfkd_lab.teachers import Measurement, Teacher
from widgets import status

TRAIN = "import sys; from dfkd_lab.teachers import train_built_in; train_built_in(sys.argv[1])"


class Cards:
    """The teacher's card and the student's; ``show`` comes back at once, and a thread measures what is not known.

    ``problem`` is why the evaluation set cannot be read, once that is known; ``on_found`` is called then, and when a
    built-in teacher was trained. ``task`` is the teacher's, as far as one was found.
    """

    def __init__(self, on_found: Callable[[], None] = lambda: None) -> None:
        self.problem, self.on_found, self.task = "", on_found, "classification"
        self.teacher, self.student = (
            ipywidgets.HTML(layout=ipywidgets.Layout(min_width="0", margin="2px 0")) for _ in range(2)
        )
        self._shown: tuple[str, ...] = ()
        self._known: dict[str, tuple[str, str]] = {}
        """What was measured, and a warning, by teacher and evaluation set."""
        self._at_work = threading.Lock()

    def show(self, resolved: ResolvedRun) -> None:
        """Show the networks of a run that is planned; what was shown before is forgotten."""
        spec, teacher = resolved.spec, resolved.teacher
        code = (each.sha256 for each in resolved.code.values())
        shown = (spec.teacher, spec.normalization, spec.data, spec.student, teacher.sha256, *code)
        if shown == self._shown:
            self._report(self.problem)
            return
        self._shown, self.problem = shown, ""
        facts, known = teacher.describe(), resolved.calibration
        self.task = teacher.card.task
        waiting = "measured when the run starts" if teacher.sha256 else "being trained ..."
        measured = words(known, spec.data) if known else "being measured ..." if teacher.sha256 else waiting
        warning = known.warning() if known else ""
        if known:
            self._known[_asked(facts, spec.data)] = measured, warning
        self._say(shown, teacher_card(facts, measured, warning), student_card(spec.student, facts))
        if known is None and spec.data == "none":
            self._say(shown, teacher_card(facts, NO_DATA), student_card(spec.student, facts))
        elif known is None:
            self._in_thread(shown, teacher, spec.student)

    def show_found(self, values: Mapping[str, Any], problem: str = "") -> None:
        """Show what can be found of a choice that cannot be run; ``problem`` is said elsewhere, and not again."""
        name, student = values["teacher"], values["student"]
        shown = (name, values["normalization"], values["data"], student)
        if shown == self._shown:
            return
        self._shown, self.problem = shown, ""
        try:
            teacher = _find(*shown[:3])
        except (SpecError, OSError) as error:
            self._say(shown, _card("Teacher", _unless_said(error, problem)), _card("Student", student))
            return
        facts, self.task = teacher.describe(), teacher.card.task
        try:
            card = student_card(student, facts)
        except SpecError as error:
            card = _card("Student", _unless_said(error, problem))
        measured, warning = self._known.get(_asked(facts, values["data"]), ("not measured", ""))
        self._say(shown, teacher_card(facts, measured, warning), card)

    def _in_thread(self, shown: tuple[str, ...], teacher: Teacher, student: str) -> None:
        job = threading.Thread(target=self._measure, args=(shown, teacher, student), name="dfkd_lab teacher card")
        job.daemon = True
        job.start()

    def _measure(self, shown: tuple[str, ...], teacher: Teacher, student: str) -> None:
        with self._at_work:
            if shown != self._shown:
                return
            try:
                if not teacher.sha256:
                    _train(teacher.name)
                    self.on_found()
                teacher = teachers.load(teacher.name, shown[1], shown[2])  # the shown one belongs to the planned run
                facts = teacher.describe()
                measured, warning = accuracy(teacher, shown[2])
                why_not = measured.removeprefix(UNREADABLE) if measured.startswith(UNREADABLE) else ""
                measured = "not measured" if why_not else measured
                self._known[_asked(facts, shown[2])] = measured, warning
                self._say(shown, teacher_card(facts, measured, warning), student_card(student, facts))
                if shown == self._shown and why_not:
                    self._report(why_not)
            except (SpecError, OSError) as error:
                self._say(shown, _card("Teacher", str(error)), _card("Student", student))

    def _report(self, problem: str) -> None:
        self.problem = problem
        if problem:
            self.on_found()

    def _say(self, shown: tuple[str, ...], teacher: str, student: str) -> None:
        if shown == self._shown:
            status.put(self.teacher, teacher)
            status.put(self.student, student)


NO_DATA, UNREADABLE = "not measured, as no evaluation set is chosen", "not measured: "


def accuracy(teacher: Teacher, evaluation: str) -> tuple[str, str]:
    """The teacher's accuracy on an evaluation set, in words, or why there is none; and a warning, or nothing."""
    try:
        split = data.evaluation_set(evaluation, teacher.card.shape)
        calibration = teachers.measured(teacher, evaluation, split)
    except SpecError as error:
        return f"{UNREADABLE}{error}", ""
    if split is None or calibration is None:
        return NO_DATA, ""
    measured = words(calibration, evaluation)
    return f"{measured}; {split.reading}" if split.reading else measured, calibration.warning()


def words(measured: Measurement, evaluation: str) -> str:
    """What was measured of a teacher."""
    first, _, rest = measured.words().partition(", ")
    return ", ".join(filter(None, [f"{first} on {evaluation} ({measured.n:,} images)", rest]))


def teacher_card(facts: Mapping[str, Any], measured: str, warning: str = "") -> str:
    """The card of a teacher from :meth:`dfkd_lab.teachers.Teacher.describe`, as HTML."""
    channels, height, width = facts["shape"]
    norms = facts["batch_norm_layers"]
    return _card(
        f"Teacher {facts['name']}",
        f"{facts['net']}, {facts['parameters']:,} parameters, {norms} batch-norm layers",
        f"{facts['classes']} classes, images {channels} x {height} x {width}; "
        f"{'' if facts.get('task') == 'segmentation' else 'accuracy '}{measured}",
        f"input (x - mean) / std, mean {_numbers(facts['mean'])}, std {_numbers(facts['std'])}",
        *_origin(facts),
        *([f"Warning: {warning}"] if warning else []),
    )


def student_card(net: str, teacher: Mapping[str, Any]) -> str:
    """The card of a student for that teacher, as HTML."""
    ours = contextlib.nullcontext() if python_file.names_file(net) else torch.device("meta")
    with ours, preserved():
        parameters = nets.parameter_count(nets.classifier(net, teacher["shape"][0], teacher["classes"]))
    ratio = teacher["parameters"] / parameters
    size = f"{ratio:.3g} times smaller than" if ratio >= 1 else f"{1 / ratio:.3g} times as large as"
    return _card(f"Student {python_file.short(net)}", f"{parameters:,} parameters", f"{size} the teacher")


def _train(name: str) -> None:
    """Train a built-in teacher in another process: here it would keep a run in this kernel waiting."""
    done = subprocess.run([sys.executable, "-c", TRAIN, name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SpecError(f"the {name} teacher could not be trained: {done.stderr.strip().splitlines()[-1]}")


def _find(name: str, normalization: str, evaluation: str) -> Teacher:
    """The teacher, also beside an evaluation set that there is not."""
    try:
        return teachers.find(name, normalization, evaluation)
    except (SpecError, OSError):
        with contextlib.suppress(SpecError, OSError):
            return teachers.find(name, normalization)
        raise


def _asked(facts: Mapping[str, Any], evaluation: str) -> str:
    """What a measurement is of: a teacher with its normalization, and an evaluation set."""
    return str((facts["sha256"], facts["mean"], facts["std"], evaluation))


def _unless_said(error: Exception, problem: str) -> str:
    return "cannot be used as chosen" if str(error) in problem else str(error)


def _card(title: str, *lines: str) -> str:
    """Everything in it is escaped, for names may come from files."""
    rows = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return f"<div style='line-height: 1.35; overflow-wrap: anywhere'><b>{escape(title)}</b>{rows}</div>"


def _origin(facts: Mapping[str, Any]) -> list[str]:
    """What the weights are, and what they were trained on, as far as it is known; of no weights nothing."""
    known = {"sha256": facts["sha256"][:12], "trained on": facts["data"]} if facts["sha256"] else {}
    return ["; ".join(f"{name} {value}" for name, value in known.items() if value)] if known else []


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
