"""What a run's settings are where nobody named them: from the preset, and from data, teacher and student.

What is taken from the networks in place of the preset is said, in a sentence each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from dfkd_lab import methods, nets
from dfkd_lab.data.registry import DataSet
from dfkd_lab.methods.composition import MIRRORS
from dfkd_lab.nets import python_file
from dfkd_lab.primitives.layers import layers_of
from dfkd_lab.spec import RunSpec, build, record, settings_of
from dfkd_lab.teachers import Teacher

RATES = {("adam", False): 4e-3, ("sgd", False): 0.02, ("adam", True): 2e-3, ("sgd", True): 0.1}
"""The student's learning rate by optimizer and whether the student normalizes its maps, where no paper gives one.

Without norms: RESULTS.md has Adam's on MNIST; at 0.1 SGD hardly learns there. With: Adam's is DAFL's and ZSKT's by
their authors' code, SGD's the field's.
"""
NO_BATCH_NORM = {"balance": 5.0, "activation": 0.1}
"""DAFL's losses and weights for MNIST, in place of ``bn_gap`` where the teacher keeps no statistics."""


def filled(
    spec: RunSpec, preset: str, teacher: Teacher, about: Iterable[DataSet | None] = ()
) -> tuple[RunSpec, list[str]]:
    """``spec`` with all settings of its method, and what was decided for the networks' sake, in words.

    Args:
        spec: As it was asked for: its ``settings`` are what somebody named.
        preset: A preset of the method.
        teacher: Its structure is enough.
        about: The data that the run is about, as far as they are known.

    Raises:
        SpecError: if the student cannot be made.
    """
    class_ = methods.find(spec.method)
    base = methods.preset_values(class_, preset, teacher.card.net)
    if not keeps_meaning(about):
        base |= {name: False for name in MIRRORS if name in settings_of(class_)}
    values = {name: base.pop(name) for name in tuple(base) if name in settings_of(RunSpec)}
    rounds = values.pop("rounds", class_.presets["paper"]["rounds"])
    optimizer = values.pop("optimizer", None)
    untouched = {name: value for name, value in values.items() if getattr(spec, name) == getattr(RunSpec(), name)}
    notes = [f"{name} = {value} comes with the preset '{preset}'" for name, value in untouched.items()]
    if spec.preset not in ("auto", preset):
        notes.append(f"preset '{preset}' is what {spec.method} has for '{spec.preset}'")
    settings = record(build(class_, {**base, **spec.settings}))
    asked, spec = spec.settings, dataclasses.replace(spec, preset=preset, rounds=spec.rounds or rounds, **untouched)
    spec, settings, rates = _optimizer(spec, settings, asked, optimizer, teacher)
    spec, settings, losses = _without_batch_norm(spec, settings, asked, teacher)
    idle = _idle(class_, spec, settings, asked)
    return dataclasses.replace(spec, settings=settings), [*notes, *rates, *losses, *idle]


def _idle(class_: type[Any], spec: RunSpec, settings: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What somebody named that has no effect beside another setting; a run's record names all, and is told nothing."""
    known = settings_of(class_)
    if asked.keys() == known.keys():
        return []
    terms = {part.partition("=")[0].strip() for part in spec.terms.split(",")}
    switches = {name: known[name].metadata.get("of", "") for name in asked}
    idle = {name: of for name, of in switches.items() if of in settings and of not in terms and not settings[of]}
    return [f"{name} = {settings[name]} has no effect with {of} = {settings[of]}" for name, of in idle.items()]


def keeps_meaning(about: Iterable[DataSet | None]) -> bool:
    """Whether a mirror keeps what the images of these data sets mean; of unknown data that is taken for granted."""
    return all(row.mirrors for row in about if row is not None)


def _optimizer(
    spec: RunSpec, settings: dict[str, Any], asked: Mapping[str, Any], preset: str | None, teacher: Teacher
) -> tuple[RunSpec, dict[str, Any], list[str]]:
    """The student's optimizer, its rate where nobody named one, and no weight decay in Adam."""
    own = str(preset or getattr(methods.find(spec.method), "optimizer", "sgd"))
    normed = nets.is_normed(spec.student, teacher.card.shape[0], teacher.card.classes)
    has_rate = "s_lr" in settings
    derived = own if normed or preset or not has_rate else "adam"
    chosen, notes = spec.optimizer if spec.optimizer != "auto" else derived, []
    why = "" if normed else f"the student '{python_file.short(spec.student)}' has no batch norm: "
    # a rate of the paper's goes with the paper's optimizer, and with a student that has norms
    fitted = chosen == own and (normed or preset is not None or own == "adam")
    if has_rate and not fitted:
        rate = asked.get("s_lr", RATES[chosen, normed])
        if spec.optimizer == "auto" or "s_lr" not in asked:  # what the record of a run says needs no words again
            instead = own if "s_lr" in asked else f"{own} at {settings['s_lr']:g}"
            notes.append(f"{why}{chosen} at s_lr = {rate:g}, where the preset has {instead}")
        settings = {**settings, "s_lr": rate}
    if chosen == "adam" and settings.get("weight_decay"):
        notes.append(f"weight_decay = {settings['weight_decay']:g} is SGD's: with Adam it is 0")
        settings = {**settings, "weight_decay": 0.0}
    return dataclasses.replace(spec, optimizer=chosen), settings, notes


def _without_batch_norm(
    spec: RunSpec, settings: dict[str, Any], asked: Mapping[str, Any], teacher: Teacher
) -> tuple[RunSpec, dict[str, Any], list[str]]:
    """Losses that need no statistics for those that do, where the teacher keeps none and nobody asked for them."""
    named = {part.partition("=")[0].strip() for part in spec.terms.split(",")}
    if not settings.get("bn_gap") or "bn_gap" in {*asked, *named}:
        return spec, settings, []
    layers = layers_of(teacher.model, teacher.card.shape)
    if layers.batch_norms:
        return spec, settings, []
    known = {*settings, *named} | ({"activation"} if layers.head is None else set())
    terms = ",".join(f"{name}={weight:g}" for name, weight in NO_BATCH_NORM.items() if name not in known)
    note = f"the teacher keeps no batch-norm statistics: bn_gap = 0, and {terms or 'nothing'} in its place"
    spec = dataclasses.replace(spec, terms=",".join(filter(None, [spec.terms, terms])))
    return spec, {**settings, "bn_gap": 0.0}, [note]
