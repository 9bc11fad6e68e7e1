"""What gives the same run without the workbench, to be copied: a command, papermill's, and a script."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import anywidget
import traitlets

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import commands, default_folder
from dfkd_lab.runs.keeping import free
from dfkd_lab.spec import RunSpec


class Commands(anywidget.AnyWidget):
    """The commands for a run, by where they are given; nothing is shown of a run that there is none for."""

    _esm = Path(__file__).with_name("commands.js")
    commands = traitlets.Dict().tag(sync=True)

    def show(self, spec: RunSpec | None) -> None:
        """Have those for ``spec``."""
        found = of(spec) if spec else {}
        if found != self.commands:
            self.commands = found


def of(spec: RunSpec) -> dict[str, str]:
    """By where they are given; none if its teacher or its Python file is not to be had any more.

    A run that was not begun has the next free folder, as the panel begins it.
    """
    usual = default_folder(spec)
    if not spec.out and usual.exists():
        spec = dataclasses.replace(spec, out=free(usual).name)
    try:
        values = commands.deciding(spec)
    except (SpecError, RunError):
        return {}
    return {
        "a shell": commands.in_a_shell(values),
        "papermill": commands.for_papermill(values, spec),
        "Python": commands.in_python(values),
    }
