"""dfkd_lab: a workbench for data-free knowledge distillation."""

import os

# OpenMP's threads spin while they wait. Beside a browser, a notebook or a second run that makes torch 3.5 times slower
# (measured on two cores), and alone it gains nothing; torch reads this when it is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dfkd_lab.loop import Report
from dfkd_lab.methods import METHODS
from dfkd_lab.runs import RunError, RunFolder, launch, list_runs, plan, prepare, summary
from dfkd_lab.session import Session
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
