"""A method's presets: which suits, and what of one is the method's and what the run's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dfkd_lab.spec import RunSpec, settings_of

PUBLISHED = ("paper", "cifar", "cifar10", "cifar100")
"""Presets to which what a paper gives for one teacher belongs."""


def suiting_preset(method: type[Any], families: Iterable[str]) -> str:
    """The first of ``families`` that ``method`` has settings for; "paper" if it has none of them."""
    return next((name for name in families if name in method.presets), "paper")


def preset_values(method: type[Any], preset: str, teacher: str) -> dict[str, Any]:
    """The settings of ``preset``, those of the run among them, and what the paper gives for this ``teacher``."""
    by_teacher = getattr(method, "by_teacher", {}) if preset in PUBLISHED else {}
    return {**method.presets[preset], **by_teacher.get(teacher, {})}


def own_settings(preset: Mapping[str, Any]) -> dict[str, Any]:
    """What of a preset are settings of the method; the rest are the run's (rounds, optimizer, generator, views)."""
    return {name: value for name, value in preset.items() if name not in settings_of(RunSpec)}
