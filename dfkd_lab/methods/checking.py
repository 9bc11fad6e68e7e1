"""What a class has to be to serve as a method at every door."""

from __future__ import annotations

import dataclasses
from typing import Any

from dfkd_lab.errors import SpecError
from dfkd_lab.methods.presets import own_settings
from dfkd_lab.spec import PRESETS, RunSpec, build, setting_type, settings_of

TYPES = (bool, int, float, str)
FLAGS = ("eval", "help", "h")
"""What the command line calls something else."""


def check_method(name: str, method: Any) -> None:
    """Refuse a class that some door could not offer.

    Raises:
        SpecError: naming ``name`` and what is wrong.
    """
    try:
        _check_class(method)
        _check_settings(method)
        _check_presets(method)
        _check_settings_by_teacher(method)
    except SpecError as error:
        raise SpecError(f"method '{name}' {error}") from None


def _check_class(method: Any) -> None:
    if not isinstance(method, type):
        raise SpecError("is no class; register the class, not an instance")
    lacking = [] if dataclasses.is_dataclass(method) else ["@dataclass(frozen=True)"]
    lacking += ["compose"] if not callable(getattr(method, "compose", None)) else []
    lacking += [each for each in ("citation", "certainty") if not isinstance(getattr(method, each, None), str)]
    lacking += ["presets"] if not isinstance(getattr(method, "presets", None), dict) else []
    if lacking:
        raise SpecError(f"lacks {', '.join(lacking)}")


def _check_settings(method: Any) -> None:
    for each, field in settings_of(method).items():
        if each in settings_of(RunSpec) or each in FLAGS:
            raise SpecError(f"has a setting '{each}', as every run has; give it another name")
        if each.startswith("no_") and each.removeprefix("no_") in settings_of(method):
            raise SpecError(f"has settings '{each}' and '{each.removeprefix('no_')}', and --no-... is both; rename one")
        if "help" not in field.metadata or field.default is dataclasses.MISSING:
            raise SpecError(f"has a field '{each}' that is no setting; write {each}: ... = setting(default, help)")
        try:
            known = setting_type(method, each) in TYPES
        except NameError:
            known = False
        if not known:
            raise SpecError(f"has a setting '{each}' of another type; allowed: bool, int, float, str")


def _check_presets(method: Any) -> None:
    if "paper" not in method.presets:
        raise SpecError("lacks the preset 'paper'")
    for preset, values in method.presets.items():
        if preset not in PRESETS or preset == "auto":
            raise SpecError(f"has a preset '{preset}'; allowed: {', '.join(PRESETS[1:])}")
        if not isinstance(values, dict):
            raise SpecError(f"has a preset '{preset}' that is no dictionary")
        rounds = values.get("rounds", 1 if preset != "paper" else 0)
        if not isinstance(rounds, int) or not 1 <= rounds <= settings_of(RunSpec)["rounds"].metadata["high"]:
            raise SpecError(f"has a preset '{preset}' with rounds = {rounds!r}; allowed: a whole number, at least 1")
        try:
            build(method, own_settings(values))
            build(RunSpec, {name: value for name, value in values.items() if name in settings_of(RunSpec)})
        except SpecError as error:
            raise SpecError(f"has a preset '{preset}' that cannot be: {error}") from None


def _check_settings_by_teacher(method: Any) -> None:
    for teacher, values in getattr(method, "by_teacher", {}).items():
        try:
            build(method, values)
        except SpecError as error:
            raise SpecError(f"has settings for the teacher '{teacher}' that cannot be: {error}") from None
