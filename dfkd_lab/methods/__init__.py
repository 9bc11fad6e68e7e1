"""One paper a file. A new method is its file and its line in ``METHODS``."""

from typing import Any

from dfkd_lab.methods.dafl import DAFL
from dfkd_lab.methods.deepinversion import DeepInversion
from dfkd_lab.methods.ssd_kd import SSDKD
from dfkd_lab.spec import SpecError, unknown

METHODS: dict[str, type] = {
    "dafl": DAFL,
    "deepinversion": DeepInversion,
    "ssd_kd": SSDKD,
}


def find(name: str) -> type[Any]:
    """The method called ``name``.

    Raises:
        SpecError: if there is none.
    """
    if name not in METHODS:
        raise SpecError(unknown(name, METHODS, "method"))
    return METHODS[name]
