"""The command that gives a run that is known: for a shell, for papermill, and in Python, all called at the root."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfkd_lab import methods
from dfkd_lab.runs.folder import RunFolder, default_folder, named_folder, runs_root
from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import RunSpec, record, setting_type, settings_of

CHOOSE_PRESET = ("method", "teacher", "student", "normalization", "data", "preset", "optimizer")
"""The settings that decide what the preset gives the others."""
FOLLOWING = ("normalization", "preset", "optimizer")
"""Those that are "auto" unless a person says otherwise."""
APART = ("settings", "out")
"""What no default is compared with: the method's settings are said one by one, a folder unless it is the usual."""
NOT_TEXT = ("True", "False", "None")
"""What papermill reads as something else than text, besides numbers."""
PARTS = re.compile("([@:,])")
"""Between a network, its file and its class, and between folders."""


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
    rest = {name: value for name, value in wanted.items() if name not in (*CHOOSE_PRESET, *APART)}
    own = {name: value for name, value in spec.settings.items() if value != base.settings.get(name)}
    given = {name: from_the_root(value) if isinstance(value, str) else value for name, value in given.items()}
    return {**given, **{name: value for name, value in rest.items() if value != there[name]}, **own, **_folder(spec)}


def from_the_root(value: str) -> str:
    """A setting that names files, as it is said at the root by who says ``value`` in the notebooks folder."""
    if Path.cwd().name != "notebooks":
        return value
    return "".join(_path_from_the_root(part) for part in PARTS.split(value))


def in_a_shell(values: Mapping[str, Any]) -> str:
    """``python -m dfkd_lab run``, as :func:`deciding` gives the settings."""
    words = [value if name == "method" else _flag(values["method"], name, value) for name, value in values.items()]
    return " ".join(["python -m dfkd_lab run", *words])


def for_papermill(values: Mapping[str, Any], spec: RunSpec) -> str:
    """``papermill`` of the notebook of one run; what it writes lies beside the run folders."""
    parameters = " ".join(
        f"{'-r' if _is_read_as_no_text(value) else '-p'} {name} {shlex.quote(str(value))}"
        for name, value in values.items()
    )
    written = Path("runs", f"{RunFolder.of(spec).name}.ipynb")
    return f"mkdir -p runs && papermill notebooks/10_run.ipynb {shlex.quote(written.as_posix())} {parameters}"


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
    text = str(value)
    if isinstance(value, str) and text.startswith("-"):
        text = f"./{text}"  # a file, which no flag is
    return f"{flag} {shlex.quote(text)}"


def _folder(spec: RunSpec) -> dict[str, str]:
    """The run's folder as a setting, unless it is the one that it has without."""
    if not spec.out or (path := named_folder(spec.out)) == default_folder(spec):
        return {}
    root = runs_root()
    return {"out": path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)}


def _path_from_the_root(part: str) -> str:
    if part.startswith("../"):
        return part.removeprefix("../")
    is_here = bool(part) and not Path(part).is_absolute() and Path(part).exists()
    return f"notebooks/{part}" if is_here else part


def _is_read_as_no_text(value: Any) -> bool:
    """Whether papermill takes a text for a number, a truth or nothing, unless it is told not to."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return value in NOT_TEXT
    return True
