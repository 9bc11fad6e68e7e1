"""The command that checks the installation."""

from __future__ import annotations

from dfkd_lab import __version__
from dfkd_lab.errors import SpecError
from dfkd_lab.system import environment


def check(arguments: list[str]) -> None:
    """Is this installation usable?"""
    if arguments:
        raise SpecError(f"check takes nothing, not {' '.join(arguments)}")
    environment.check()
    print("ready: " + ", ".join(f"{name} {number}" for name, number in environment.versions().items()))


def version(arguments: list[str]) -> None:
    """Which dfkd_lab this is."""
    if arguments:
        raise SpecError(f"--version takes nothing, not {' '.join(arguments)}")
    print(f"dfkd_lab {__version__}")
