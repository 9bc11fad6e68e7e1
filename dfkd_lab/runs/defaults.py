"""What a run's settings are where nobody named them: from the preset, and from data, teacher and student.

What is taken from the networks in place of the preset is said, in a sentence each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dfkd_lab import methods, nets
from dfkd_lab.data.registry import DataSet
from dfkd_lab.nets import python_file
from dfkd_lab.spec import RunSpec, build, record, settings_of
from dfkd_lab.teachers import Teacher

MIRRORS = ("flip", "mirror")
"""Settings that are off for data that mean something else in a mirror."""
RATES = {("adam", False): 4e-3, ("sgd", False): 0.02, ("adam", True): 2e-3}
"""The student's learning rate by optimizer and whether the student normalizes its maps, where no paper gives one.

Without norms: measured on MNIST with half a LeNet-5: SGD at 0.1 ends at chance, at 0.02 at 96.3 %, Adam at 97.6 %.
With: DAFL's and ZSKT's, by their authors' code.
"""
NO_BATCH_NORM = {"balance": 5.0, "activation": 0.1}
"""DAFL's losses and weights for MNIST, in place of ``bn_gap`` where the teacher keeps no statistics."""


def filled(spec: RunSpec, preset: str, teacher: Teacher, row: DataSet | None) -> tuple[RunSpec, list[str]]:
    """``spec`` with all settings of its method, and what was decided for the networks' sake, in words.

    Args:
        spec: As it was asked for: its ``settings`` are what somebody named.
        preset: A preset of the method.
        teacher: Its structure is enough.
        row: Of the data that the run is about; None if they are not known.

    Raises:
        SpecError: if the student cannot be made.
    """
    class_ = methods.find(spec.method)
    base = methods.preset_values(class_, preset, teacher.card.net)
    if row is not None and not row.mirrors:
        base |= {name: False for name in MIRRORS if name in settings_of(class_)}
    values = {name: base.pop(name) for name in tuple(base) if name in settings_of(RunSpec)}
    rounds = values.pop("rounds", class_.presets["paper"]["rounds"])
    optimizer = values.pop("optimizer", None)
    untouched = {name: value for name, value in values.items() if getattr(spec, name) == getattr(RunSpec(), name)}
    notes = [f"{name} = {value} is the preset '{preset}'s" for name, value in untouched.items()]
    asked = spec.settings
    settings = record(build(class_, {**base, **asked}))
    spec = dataclasses.replace(spec, preset=preset, rounds=spec.rounds or rounds, **untouched)
    spec, settings, rates = _optimizer(spec, settings, asked, optimizer, teacher)
    spec, settings, losses = _without_batch_norm(spec, settings, asked, teacher)
    return dataclasses.replace(spec, settings=settings), [*notes, *rates, *losses]


def _optimizer(
    spec: RunSpec, settings: dict[str, Any], asked: Mapping[str, Any], preset: str | None, teacher: Teacher
) -> tuple[RunSpec, dict[str, Any], list[str]]:
    """The student's optimizer and its rate; a rate that somebody named stays, with the method's own optimizer."""
    own = getattr(methods.find(spec.method), "optimizer", "sgd")
    normed = nets.is_normed(spec.student, teacher.card.shape[0], teacher.card.classes)
    derived = own if normed or "s_lr" in asked or "s_lr" not in settings else "adam"
    chosen = spec.optimizer if spec.optimizer != "auto" else preset or derived
    spec = dataclasses.replace(spec, optimizer=chosen)
    fitted = preset == chosen or (chosen == own and normed)
    if fitted or "s_lr" in asked or "s_lr" not in settings or (chosen == own == "adam"):
        return spec, settings, []
    rate = RATES[chosen, normed]
    why = f"the student '{python_file.short(spec.student)}' has no batch norm: " if not normed else ""
    note = (
        f"{why}{chosen} at s_lr = {rate:g} (the method's own: {own} at {settings['s_lr']:g}); optimizer and s_lr say it"
    )
    return spec, {**settings, "s_lr": rate}, [note]


def _without_batch_norm(
    spec: RunSpec, settings: dict[str, Any], asked: Mapping[str, Any], teacher: Teacher
) -> tuple[RunSpec, dict[str, Any], list[str]]:
    """Losses that need no statistics for those that do, where the teacher keeps none and nobody asked for them."""
    if not settings.get("bn_gap") or "bn_gap" in asked or "bn_gap" in spec.terms or nets.has_statistics(teacher.model):
        return spec, settings, []
    terms = ",".join(
        f"{name}={weight:g}"
        for name, weight in NO_BATCH_NORM.items()
        if name not in settings and f"{name}=" not in spec.terms
    )
    note = f"the teacher keeps no batch-norm statistics: bn_gap = 0, and {terms or 'nothing'} in its place"
    spec = dataclasses.replace(spec, terms=",".join(filter(None, [spec.terms, terms])))
    return spec, {**settings, "bn_gap": 0.0}, [note]
