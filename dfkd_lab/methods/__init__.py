"""One paper a file. A new method is its file, and its line in ``CLASSES``."""

from importlib import import_module
from typing import Any

from dfkd_lab.errors import SpecError
from dfkd_lab.methods.presets import own_settings, preset_values, suiting_preset
from dfkd_lab.spec import unknown

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


def certainty(method: Any, task: str = "classification") -> str:
    """How certain ``method``, a class or an instance, is for ``task``.

    Where every pixel has a class, it is the paper's only where that says how (``labels_pixels``), or for a reference.
    """
    said: str = method.certainty
    published = getattr(method, "labels_pixels", False) or getattr(method, "reads_real_images", False)
    if task == "segmentation" and said.startswith("certain") and not published:
        return "inferred (no paper says how where every pixel has a class)"
    return said


def remark(method: Any) -> str:
    """What no result of a method, a class or an instance, is shown without; empty if it is data-free."""
    return "uses real images: a reference, not data-free" if getattr(method, "reads_real_images", False) else ""


__all__ = ["CLASSES", "METHODS", "certainty", "find", "own_settings", "preset_values", "remark", "suiting_preset"]
