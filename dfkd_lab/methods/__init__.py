"""One paper a file. A new method is its file, and its line in ``CLASSES``."""

from importlib import import_module
from typing import Any

from dfkd_lab.spec import SpecError, unknown

CLASSES = {
    "cgdd": "CGDD",
    "dafl": "DAFL",
    "dfad": "DFAD",
    "ddad": "DDAD",
    "deepinversion": "DeepInversion",
    "dfq": "DFQ",
    "fast": "FastDFKD",
    "mb_dfkd": "MBDFKD",
    "pre_dfkd": "PREDFKD",
    "ssd_kd": "SSDKD",
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
        raise SpecError(unknown(name, METHODS, "method"))
    return METHODS[name]
