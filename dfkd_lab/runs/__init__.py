"""Runs: planned, begun, written into their folder, and read back."""

from dfkd_lab.errors import RunError
from dfkd_lab.runs.examination import Examination
from dfkd_lab.runs.examining import examine
from dfkd_lab.runs.folder import (
    RunFolder,
    default_folder,
    list_runs,
    named_folder,
    prepare,
    remark,
    runs_root,
    summary,
)
from dfkd_lab.runs.launching import launch
from dfkd_lab.runs.parameters import check_parameters, from_namespace
from dfkd_lab.runs.planning import ResolvedRun, plan, resolve
from dfkd_lab.runs.session import Session

__all__ = [
    "Examination",
    "ResolvedRun",
    "RunError",
    "RunFolder",
    "Session",
    "check_parameters",
    "default_folder",
    "examine",
    "from_namespace",
    "launch",
    "list_runs",
    "named_folder",
    "plan",
    "prepare",
    "remark",
    "resolve",
    "runs_root",
    "summary",
]
