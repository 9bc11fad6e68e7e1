"""The command that checks the installation."""

from __future__ import annotations

from dfkd_lab.system import environment


def check(arguments: list[str]) -> None:
    """Is this installation usable?"""
    environment.check()
    print("ready: " + ", ".join(f"{name} {number}" for name, number in environment.versions().items()))
