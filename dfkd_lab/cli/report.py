"""The command for a page to send around: report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dfkd_lab.errors import SpecError
from dfkd_lab.runs import runs_root


def write(arguments: list[str]) -> None:
    """``report RUN`` writes report.html into a run folder; of a folder that holds run folders, sweep.html."""
    if len(arguments) != 1:
        raise SpecError("report takes one run folder, or one that holds some, as in: report runs/demo-seed0")
    path = next((each for each in (Path(arguments[0]), runs_root() / arguments[0]) if each.is_dir()), None)
    if path is None:
        raise SpecError(f"there is no folder {arguments[0]}, here or below {runs_root()}; 'list' shows what there is")
    if code := drawing(path, None).wait():
        raise SystemExit(code)


def drawing(path: Path, to: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """The process that writes the page, as figures are not this library's; ``to`` gets what it says."""
    words = [sys.executable, "-m", "widgets", str(path)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=to, stderr=to)
