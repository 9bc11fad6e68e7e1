"""dfkd_lab: a workbench for data-free knowledge distillation.

The public names; each is imported when it is first used, so that importing the package costs and changes nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfkd_lab import data as data
    from dfkd_lab import export as export
    from dfkd_lab import nets as nets
    from dfkd_lab import teachers as teachers
    from dfkd_lab.engine.report import Report as Report
    from dfkd_lab.errors import RunError as RunError
    from dfkd_lab.errors import SpecError as SpecError
    from dfkd_lab.export.student import load_student as load_student
    from dfkd_lab.methods import METHODS as METHODS
    from dfkd_lab.methods.composition import compose as compose
    from dfkd_lab.methods.composition import register_filling as register_filling
    from dfkd_lab.methods.composition import register_method as register_method
    from dfkd_lab.runs.folder import RunFolder as RunFolder
    from dfkd_lab.runs.folder import list_runs as list_runs
    from dfkd_lab.runs.folder import prepare as prepare
    from dfkd_lab.runs.folder import summary as summary
    from dfkd_lab.runs.launching import launch as launch
    from dfkd_lab.runs.parameters import check_parameters as check_parameters
    from dfkd_lab.runs.parameters import from_namespace as from_namespace
    from dfkd_lab.runs.planning import ResolvedRun as ResolvedRun
    from dfkd_lab.runs.planning import plan as plan
    from dfkd_lab.runs.session import Session as Session
    from dfkd_lab.spec import RunSpec as RunSpec

__version__ = "0.2.0"

PUBLIC = {
    "METHODS": "methods",
    "Report": "engine.report",
    "ResolvedRun": "runs.planning",
    "RunError": "errors",
    "RunFolder": "runs.folder",
    "RunSpec": "spec",
    "Session": "runs.session",
    "SpecError": "errors",
    "check_parameters": "runs.parameters",
    "compose": "methods.composition",
    "from_namespace": "runs.parameters",
    "launch": "runs.launching",
    "list_runs": "runs.folder",
    "load_student": "export.student",
    "plan": "runs.planning",
    "prepare": "runs.folder",
    "register_filling": "methods.composition",
    "register_method": "methods.composition",
    "summary": "runs.folder",
}
"""Where each public name is defined."""
PACKAGES = ("data", "export", "nets", "teachers")
"""Public packages."""

__all__ = [*PUBLIC, *PACKAGES]


def __getattr__(name: str) -> Any:
    if name in PACKAGES:
        return import_module(f"dfkd_lab.{name}")
    if name in PUBLIC:
        value = getattr(import_module(f"dfkd_lab.{PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dfkd_lab' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
