"""One paper a file. A new method is its file, and its line in ``CLASSES``."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from dfkd_lab.errors import SpecError
from dfkd_lab.spec import RunSpec, settings_of, unknown

CLASSES = {
    "alone": "Alone",
    "cgdd": "CGDD",
    "cmi": "CMI",
    "dafl": "DAFL",
    "dfad": "DFAD",
    "dfad_ar_vi": "DFADARVI",
    "ddad": "DDAD",
    "deepinversion": "DeepInversion",
    "dfq": "DFQ",
    "fast": "FastDFKD",
    "fssc": "FSSC",
    "kd": "KD",
    "mad": "MAD",
    "mb_dfkd": "MBDFKD",
    "nayer": "NAYER",
    "noise": "Noise",
    "pre_dfkd": "PREDFKD",
    "spaceshipnet": "SpaceshipNet",
    "ssd_kd": "SSDKD",
    "untrained": "UntrainedGenerator",
    "zskt": "ZSKT",
}
"""The class in each file."""

METHODS: dict[str, type[Any]] = {
    name: getattr(import_module(f"dfkd_lab.methods.{name}"), class_) for name, class_ in CLASSES.items()
}


def find(name: str) -> type[Any]:
    """The method called ``name``.

    Raises:
        SpecError: if there is none.
    """
    if name not in METHODS:
        raise SpecError(unknown(name, METHODS, "method", yours="register_method"))
    return METHODS[name]


def suiting_preset(method: type[Any], families: Iterable[str]) -> str:
    """The first of ``families`` that ``method`` has settings for; "paper" if it has none of them."""
    return next((name for name in families if name in method.presets), "paper")


PUBLISHED = ("paper", "cifar", "cifar10", "cifar100")
"""Presets to which what a paper gives for one teacher belongs."""


def preset_values(method: type[Any], preset: str, teacher: str) -> dict[str, Any]:
    """The settings of ``preset``, those of the run among them, and what the paper gives for this ``teacher``."""
    by_teacher = getattr(method, "by_teacher", {}) if preset in PUBLISHED else {}
    return {**method.presets[preset], **by_teacher.get(teacher, {})}


def own_settings(preset: Mapping[str, Any]) -> dict[str, Any]:
    """What of a preset are settings of the method; the rest are the run's (rounds, optimizer, generator, views)."""
    return {name: value for name, value in preset.items() if name not in settings_of(RunSpec)}


def remark(method: Any) -> str:
    """What no result of a method, a class or an instance, is shown without; empty if it is data-free."""
    return "uses real images: a reference, not data-free" if getattr(method, "reads_real_images", False) else ""
