"""The command that begins a run like one that is known: for a shell, for papermill, and in Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfkd_lab import methods
from dfkd_lab.runs.folder import RunFolder, default_folder
from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import RunSpec, record, setting_type, settings_of

CHOOSE_PRESET = ("method", "teacher", "student", "normalization", "data", "preset", "optimizer")
"""The settings that decide what the preset gives the others."""
FOLLOWING = ("normalization", "preset", "optimizer")
"""Those that are "auto" unless a person says otherwise."""
NOT_SAID = ("settings", "out")
"""What a command does not repeat: a run like another has a folder of its own."""


def deciding(spec: RunSpec) -> dict[str, Any]:
    """The settings of a run that no preset and no default gives, by name, the method's own among them.

    Raises:
        SpecError: if its teacher is not to be had.
        RunError: if it names a Python file that nobody has executed here; nothing is executed.
    """
    usual = RunSpec()
    given = {name: getattr(spec, name) for name in CHOOSE_PRESET}
    given = {name: value for name, value in given.items() if name == "method" or value != getattr(usual, name)}
    base = settled(given, typed=False)
    for names in (FOLLOWING, *((name,) for name in FOLLOWING)):  # all at once, which is nearly always enough
        without = {name: value for name, value in given.items() if name not in names}
        if without != given and settled(without, typed=False) == base:
            given = without
    wanted, there = record(spec), record(base)
    rest = {name: value for name, value in wanted.items() if name not in (*CHOOSE_PRESET, *NOT_SAID)}
    own = {name: value for name, value in spec.settings.items() if value != base.settings.get(name)}
    return {**given, **{name: value for name, value in rest.items() if value != there[name]}, **own}


def in_a_shell(values: Mapping[str, Any]) -> str:
    """``python -m dfkd_lab run``, as :func:`deciding` gives the settings."""
    words = [value if name == "method" else _flag(values["method"], name, value) for name, value in values.items()]
    return " ".join(["python -m dfkd_lab run", *words])


def for_papermill(values: Mapping[str, Any], spec: RunSpec) -> str:
    """``papermill`` of the notebook of one run; what it writes lies beside the run folders."""
    parameters = " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in values.items())
    written = Path("runs", f"{RunFolder(default_folder(spec)).name}.ipynb")
    return f"papermill notebooks/10_run.ipynb {shlex.quote(written.as_posix())} {parameters}"


def in_python(values: Mapping[str, Any]) -> str:
    """A script that plans the run and waits for it."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return (
        "from dfkd_lab import Session, plan\n\n"
        f"for report in Session(plan({arguments})):\n    print(report.round, report.accuracy)"
    )


def _flag(method: str, name: str, value: Any) -> str:
    spec = RunSpec if name in settings_of(RunSpec) else methods.find(method)
    flag = f"--{name.replace('_', '-')}"
    if setting_type(spec, name) is bool:
        return flag if value else flag.replace("--", "--no-", 1)
    return f"{flag} {shlex.quote(str(value))}"
