"""Everything about a run that can be decided, or refused, before its first step; decided here, and nowhere again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dfkd_lab import data, methods, nets, teachers
from dfkd_lab.engine import precision
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.recipe import Method
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.methods import composition
from dfkd_lab.nets import trial
from dfkd_lab.nets.python_file import Code
from dfkd_lab.runs import defaults, own_code, timing
from dfkd_lab.runs.fitting import refuse_other_data
from dfkd_lab.runs.folder import RunFolder, is_same_run, named_folder
from dfkd_lab.runs.memory_estimate import check_buffer, explained
from dfkd_lab.runs.seal import Seal, SealBroken
from dfkd_lab.spec import PRESETS, RunSpec, build, settings_of, unknown
from dfkd_lab.system.device import check_device, check_reproducible, pick_device
from dfkd_lab.teachers import Measurement, Teacher

LARGE = 96
"""Pixels a side from which on images are taken to be like ImageNet's."""
UNSTEADY = 3
"""How much a timed step may differ from the one that the same command timed before, beside other work."""


@dataclass
class ResolvedRun:
    """A run as it will be: ``spec`` with every setting resolved, and what the settings mean on this machine.

    What is a setting of the run, or of its method, can be read off it: ``resolved.rounds``, ``resolved.capacity``.
    """

    spec: RunSpec
    method: Method
    """With its slots replaced, if any are."""
    device: torch.device
    teacher: Teacher
    """A built-in one that is not in the cache has no weights yet."""
    calibration: Measurement | None
    """How right and how sure the teacher is, if it was measured on the evaluation set before."""
    seal: Seal
    """Closed while the method composed."""
    notes: list[str]
    """What was decided for the networks' sake where nobody said it, in words."""
    _composed: ComposedRun | None = field(repr=False)
    code: dict[str, Code] = field(default_factory=dict, repr=False)
    """The Python files that the student's and the teacher's network are from, if they are."""

    @property
    def composed(self) -> ComposedRun:
        """The method with its networks, to be looked at; :meth:`take` gives it away."""
        if self._composed is None:  # taken by an earlier run, and the teacher and the seal with it
            own_code.use(self.code)
            self.teacher, self.seal = _find_teacher(self.spec), Seal()
            self._composed = _compose(self.spec, self.method, self.teacher, self.device, self.seal)
        return self._composed

    def take(self) -> ComposedRun:
        """The method with its networks, for the one run that will change them."""
        composed, self._composed = self.composed, None
        return composed

    def into(self, folder: Path | str, **more: Any) -> ResolvedRun:
        """The same run, in another folder; ``more`` are settings that do not change what it computes."""
        changes = build(RunSpec, {"out": str(folder), **more})
        self.spec = dataclasses.replace(self.spec, **{name: getattr(changes, name) for name in ("out", *more)})
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "spec" not in self.__dict__:
            raise AttributeError(name)
        settings = {**self.spec.settings, **{each: getattr(self.spec, each) for each in settings_of(RunSpec)}}
        if name not in settings:
            raise AttributeError(unknown(name, settings, f"setting of {self.spec.method}"))
        return settings[name]


def plan(values: Mapping[str, Any] | None = None, /, **more: Any) -> ResolvedRun:
    """A checked run from names of run settings and of the method's settings, mixed or in ``settings``.

    Method settings come from the method's defaults, then its preset, then what is given. All of them end up in
    ``settings``, so that the record needs no preset table. A Python file that ``student`` or ``teacher`` names is
    executed; the record has its absolute path.

    Raises:
        SpecError: for anything that is unknown, of the wrong type, out of range, or does not fit together.
        RunError: if the method opens a data set while it composes.
    """
    return resolve(own_code.typed(_spec_of({**(values or {}), **more})))


def _spec_of(values: Mapping[str, Any]) -> RunSpec:
    """The spec of run settings and method settings, mixed or in ``settings``."""
    run_values = {name: value for name, value in values.items() if name in settings_of(RunSpec)}
    rest = {name: value for name, value in values.items() if name not in run_values}
    spec = build(RunSpec, run_values)
    if twice := sorted(spec.settings.keys() & rest):
        raise SpecError(f"{twice[0]} is given twice: by itself, and in settings; give it once")
    return dataclasses.replace(spec, settings={**spec.settings, **rest})


def resolve(spec: RunSpec, trust_code: str = "") -> ResolvedRun:
    """What ``spec`` means here; what it leaves open is decided.

    Args:
        spec: As a run folder has it, say.
        trust_code: Which text of the Python files that it names may be executed, one of ``own_code.TEXTS``:
            "unchanged" since the run began, "kept" in its folder, or "changed". "" executes nothing that no person
            has named in this process.

    Raises:
        SpecError: as :func:`plan`.
        RunError: as :func:`plan`, or if it names a Python file that is not trusted.
    """
    code = own_code.admitted(spec, trust_code)
    minutes, known = spec.minutes, _settle(spec)
    spec, teacher, device = known.spec, known.teacher, known.device
    method, seal = composition.method_of(spec, mirrors=known.mirrors), Seal([teacher.path])
    begun: list[str] = []
    if minutes:
        spec, begun = _laid_out(spec, minutes, _compose(spec, method, teacher, device, seal), teacher)
        seal = Seal([teacher.path])
    composed = _compose(spec, method, teacher, device, seal)
    check_buffer(composed, spec.buffer_on)
    calibration = teachers.kept_measurement(teacher, spec.data)
    notes = [*known.notes, *begun, *_short_of_rounds(spec.rounds, composed.recipe.schedule.warm_up)]
    return ResolvedRun(spec, method, device, teacher, calibration, seal, notes, composed, code)


def _short_of_rounds(rounds: int, warm_up: int) -> list[str]:
    """What a person should know who asked for fewer rounds than a warm-up leaves something of."""
    if 2 * warm_up <= rounds:
        return []
    return [f"the student learns in {max(0, rounds - warm_up)} of {rounds} rounds, as warm_up = {warm_up}"]


def settled(values: Mapping[str, Any], *, typed: bool = True) -> RunSpec:
    """The spec that :func:`plan` would give for these settings, without composing anything; for a form to show.

    Args:
        values: As :func:`plan` takes them.
        typed: Whether a person has typed them, so that the Python files they name are executed. Else nothing is, and
            they may name only what was executed before.

    Raises:
        SpecError: as :func:`plan`, but for what shows only when slots are put together.
        RunError: if they name another Python file, and nobody has typed them.
    """
    spec = _spec_of(values)
    if typed:
        spec = own_code.typed(spec)
    else:
        own_code.admitted(spec)
    return _settle(spec).spec


@dataclass
class Settled:
    """A spec with preset, settings, rounds, optimizer and precision decided, before anything is composed."""

    spec: RunSpec
    teacher: Teacher
    device: torch.device
    notes: list[str]
    """What was decided for the networks' sake, in words."""
    mirrors: bool
    """Whether a mirror keeps what the images mean, as far as the record of the run says what they are."""


def _settle(spec: RunSpec) -> Settled:
    """Decide what can be decided without composing.

    Raises:
        SpecError: as :func:`plan`.
    """
    class_ = methods.find(spec.method)
    data.check(spec.data)
    build(class_, spec.settings, also=settings_of(RunSpec))  # before a file is read
    teacher = _find_teacher(spec)
    refuse_other_data(spec, teacher.card)
    try:
        maker, card = nets.maker(spec.student), teacher.card
        for shape in teachers.sizes(card, spec.data):
            trial.examine_student(spec.student, maker, shape, card.classes, card.task)
    except SpecError as error:
        raise SpecError(f"student: {error}") from None
    if methods.remark(class_) and spec.data == "none":
        names = ", ".join((*data.TRAINING_SETS, "folder:PATH", "folder-pairs:PATH"))
        raise SpecError(f"'{spec.method}' learns from real images, and data = '{spec.data}' has none; choose: {names}")
    if spec.out:
        named_folder(spec.out)
    if spec.rounds and spec.minutes:
        raise SpecError(f"rounds = {spec.rounds} and minutes = {spec.minutes:g} both say how long the run is; give one")
    check_device(spec.device)
    device = pick_device(spec.device)
    check_reproducible(device, spec.deterministic)  # before anything is asked of a GPU
    preset = _preset(spec, class_, teacher)
    about = [data.find(each) for each in (spec.preset, spec.data, teacher.card.data)]
    spec, notes = defaults.filled(spec, preset, teacher, about)
    spec = dataclasses.replace(
        spec,
        minutes=0.0,  # rounds say it from here on
        precision=precision.pick(spec.precision, device),
    )
    return Settled(spec, teacher, device, notes, mirrors=defaults.keeps_meaning(about[1:]))


def _laid_out(spec: RunSpec, minutes: float, composed: ComposedRun, teacher: Teacher) -> tuple[RunSpec, list[str]]:
    """``spec`` with the rounds that fit into ``minutes`` here; those of its folder, if it was begun by such a command.

    And what a person who gave the minutes should know of it.

    Raises:
        RunError: if the folder's rounds are so many, or so few, that it was not.
    """
    rounds = min(spec.rounds, timing.rounds_within(60 * minutes, composed, teacher.card.shape))
    folder = RunFolder.of(spec)
    if folder.exists():
        begun = dataclasses.replace(spec, rounds=folder.spec().rounds)
        if is_same_run(folder, begun) and not rounds / UNSTEADY <= begun.rounds <= rounds * UNSTEADY:
            raise RunError(
                f"{folder.path} holds this run with {begun.rounds} rounds, and minutes = {minutes:g} would be {rounds} "
                "now; resume it, or give another folder (out)"
            )
        if is_same_run(folder, begun):
            why = f"{folder.path} was begun with as many, and goes on with them whatever minutes = {minutes:g} would be"
            return begun, [f"rounds = {begun.rounds}: {why}"]
    return dataclasses.replace(spec, rounds=rounds), []


def _find_teacher(spec: RunSpec) -> Teacher:
    return teachers.find(spec.teacher, spec.normalization, spec.data)


def _compose(spec: RunSpec, method: Method, teacher: Teacher, device: torch.device, seal: Seal) -> ComposedRun:
    """A method that reads data while it composes fails like one that reads it later."""
    try:
        with explained(spec.settings), seal.of_this_thread():
            return ComposedRun.of(
                method,
                teacher.model,
                lambda: teachers.student_of(teacher.card, spec.student),
                shape=teacher.card.shape,
                classes=teacher.card.classes,
                rounds=spec.rounds,
                seed=spec.seed,
                device=device,
                precision=spec.precision,
                cache_views=spec.cache_views,
                generator=spec.generator,
                optimizer=spec.optimizer,
                task=teacher.card.task,
            )
    except SealBroken as error:
        raise RunError(str(error)) from None


def _preset(spec: RunSpec, class_: type[Any], teacher: Teacher) -> str:
    """The family of settings: the one that is named, else what suits the data, the teacher's data, or its images."""
    if spec.preset in class_.presets:
        return spec.preset
    named = data.find(spec.preset)
    if spec.preset in PRESETS[1:] and named is None:
        known = ", ".join(class_.presets)
        raise SpecError(
            f"preset = '{spec.preset}': neither {spec.method}'s paper nor its code says what suits; {known} do"
        )
    if spec.preset != "auto" and named is None:
        raise SpecError("preset: " + unknown(spec.preset, class_.presets, f"preset of {spec.method}"))
    about = named or data.find(spec.data) or data.find(teacher.card.data)
    large = ("imagenet",) if min(teacher.card.shape[1:]) >= LARGE else ()
    unknown_data = ("segmentation",) if teacher.card.task == "segmentation" else large
    return methods.suiting_preset(class_, about.presets if about else unknown_data)
