"""dfkd_lab: a workbench for data-free knowledge distillation."""

import os

# OpenMP's threads spin long while they wait, which beside a browser, a notebook or a second run steals the cores that
# the others wait for. A hundredth of its own measure is long enough to find the next operator of a small network, and
# short enough for two runs to share the cores. torch reads this when it is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

from dfkd_lab.methods import METHODS
from dfkd_lab.report import Report
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
