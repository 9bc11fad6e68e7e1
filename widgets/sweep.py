"""A sweep that is run from a notebook: how its runs stand, while they run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape

from IPython.display import HTML, display

from dfkd_lab import sweeps
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.timing import duration
from widgets.compare.figures import STYLE, html_table

PERIOD_S = 2.0
HEADS = ("run", "state", "round", "last", "agreement", "time")


def run(sweep: sweeps.Sweep, on: str = "local", jobs: int = 0, minutes: float = 0.0) -> sweeps.Queue:
    """As :func:`dfkd_lab.sweeps.run`, with a table of the runs that is read again every two seconds.

    Raises:
        SpecError: if a cell cannot be run, before anything is started.
        RunError: if the launcher does not start.
    """
    said: list[str] = []
    shown = display(HTML("planning every cell"), display_id=True)
    drawn = 0.0

    def watch(queue: sweeps.Queue) -> None:
        nonlocal drawn
        if time.monotonic() - drawn >= PERIOD_S or queue.is_done:
            drawn = time.monotonic()
            shown.update(HTML(table(queue.folders, queue.left, said[-1] if said else "")))

    queue = sweeps.run(sweep, on, jobs, minutes, said.append, watch)
    shown.update(HTML(table(queue.folders, queue.left)))
    return queue


def table(folders: Sequence[RunFolder], left: dict[str, str] | None = None, newest: str = "") -> str:
    """How the runs stand, a row each, and why some are not tried again."""
    rows, done = [], 0
    for folder in folders:
        found, status = folder.result(), folder.status()
        done += found["state"] == "finished"
        measured = (found.get(name) for name in ("last", "agreement"))
        cells = [
            folder.name,
            found["state"],
            f"{status['round']} of {status.get('rounds', '?')}",
            *("–" if value is None else f"{value:.3f}" for value in measured),
            duration(found.get("seconds") or 0),
        ]
        rows.append([escape(str(each)) for each in cells])
    lines = [f"{done} of {len(folders)} runs are finished", *([newest] if newest else [])]
    lines += [f"{name}: {reason}" for name, reason in (left or {}).items()]
    said = "<br>".join(map(escape, lines))
    return f"{STYLE}<div role='status'>{said}</div>{html_table('', HEADS, rows)}"
