"""dfkd_lab: a workbench for data-free knowledge distillation."""

from dfkd_lab.loop import Report
from dfkd_lab.methods import METHODS
from dfkd_lab.runs import RunError, RunFolder, Session, launch, list_runs, plan, prepare, summary
from dfkd_lab.spec import RunSpec, SpecError

__all__ = [
    "METHODS",
    "Report",
    "RunError",
    "RunFolder",
    "RunSpec",
    "Session",
    "SpecError",
    "launch",
    "list_runs",
    "plan",
    "prepare",
    "summary",
]
