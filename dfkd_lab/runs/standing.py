"""How a run stands: as its folder says, and as that looks from this machine."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dfkd_lab.engine import metrics
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.runs import contents
from dfkd_lab.system.processes import is_alive, started

AT_WORK = ("running", "paused")
STALE_S = 120.0
"""Of silence, after which a run of another machine counts as gone; at work it speaks every ten seconds."""


def written(state: str, round: int, rounds: int, message: str) -> dict[str, Any]:
    """What the process that writes a run says of it."""
    return {"state": state, "round": round, "rounds": rounds, "message": message, **process(os.getpid())}


def process(pid: int) -> dict[str, Any]:
    """Process ``pid`` of this machine, to be found again by :func:`lives_here`."""
    return {"pid": pid, "process_started": started(pid), "host": socket.gethostname()}


def lives_here(said: Mapping[str, Any]) -> bool:
    """Whether what :func:`process` gave is of this machine and alive; False if it is empty."""
    own = said.get("host") == socket.gethostname()
    return own and is_alive(said.get("pid", 0), said.get("process_started"))


def status(folder: Path) -> dict[str, Any]:
    """As :meth:`dfkd_lab.RunFolder.status`."""
    if not folder.exists():
        return {"state": "gone", "round": 0, "message": f"{folder} was moved, renamed or removed"}
    found = contents.status(folder) or {"state": "new", "round": 0}
    return {**found, **_seen_from_here(folder, found)} if found["state"] in AT_WORK else found


def result_of(last: Report | None, accuracies: Iterable[float | None]) -> dict[str, Any]:
    """Rounds, accuracies over the evaluated ones, agreement and cost, as of the last round's report."""
    cost = last.cost if last else Cost()
    return {
        "rounds": last.round if last else 0,
        **metrics.expected([each for each in accuracies if each is not None]),
        **({} if last is None or last.metric == "accuracy" else {"metric": last.metric}),
        "agreement": last.health.get("agreement") if last else None,
        "seconds": cost.seconds,
        **(vars(cost) if last else {}),
    }


def kept_result(folder: Path, status: dict[str, Any]) -> dict[str, Any] | None:
    """The result that was kept with ``status``, while the log is as long as it was then."""
    try:
        size = (folder / "events.jsonl").stat().st_size
    except OSError:
        size = 0
    return status.get("result") if status.get("events_bytes") == size else None


def _seen_from_here(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What is otherwise about a run that says it is at work."""
    if said.get("host") == socket.gethostname():
        return {} if lives_here(said) else {"state": "stopped", "message": "its process is gone"}
    try:  # the file's own time, which this machine's clock has more to do with than the other's
        silent = time.time() - (folder / "status.json").stat().st_mtime
    except OSError:
        return {}
    if silent < STALE_S:
        return {}
    return {"state": "stale", "message": f"nothing was heard of it on {said.get('host', '?')} for {silent:.0f} s"}
