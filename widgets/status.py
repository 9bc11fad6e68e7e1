"""How a run stands, in words, for the panel and for headless notebooks; and which of the two this kernel is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from typing import Any

from IPython import get_ipython

from widgets.figures import Events

LIVE_VARIABLE = "DFKD_LIVE"
AMBER = "#c77700"


def is_live(wish: bool | None = None) -> bool:
    """Whether somebody watches: ``wish``, else ``$DFKD_LIVE`` (0 or 1), else Voilà, else what the front end says."""
    if wish is not None:
        return wish
    if os.environ.get(LIVE_VARIABLE):
        return os.environ[LIVE_VARIABLE] == "1"
    if os.environ.get("VOILA_KERNEL_ID"):
        return True
    kernel = getattr(get_ipython(), "kernel", None)
    # JupyterLab can ask for input; papermill and nbclient cannot.
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def line(status: Mapping[str, Any], events: Events, teacher_accuracy: float | None = None) -> str:
    """The state of a run as HTML that a screen reader announces; everything in it is escaped."""
    last = events[-1] if events else None
    rounds = status.get("rounds") or (last["rounds"] if last else 0)
    done = last["round"] if last else 0
    words = [f"<b>{escape(status['state'])}</b>", f"round {done} of {rounds}" if rounds else ""]
    if status["state"] in ("running", "paused") and last:
        words.append(f"{duration(time_left(events))} left")
    if last and last["accuracy"] is not None:
        against = f" (teacher {teacher_accuracy:.3f})" if teacher_accuracy is not None else ""
        words.append(f"accuracy {last['accuracy']:.3f}{against}")
    if last:
        words.append(f"agreement {last['health']['agreement']:.3f}")
    words.append(escape(status.get("message") or ""))
    text = " · ".join(word for word in words if word)
    known = "" if status["state"] == "starting" else f"value='{done}' max='{max(rounds, 1)}'"
    bar = f"<progress {known} aria-label='rounds done' style='width: 100%'></progress>"
    return f"<div role='status' aria-live='polite' style='line-height: 1.5'>{text}<br>{bar}{_alarms(last)}</div>"


def time_left(events: Events) -> float:
    """Seconds until the last round, at the pace of the last twenty."""
    before, last = events[max(0, len(events) - 21)], events[-1]
    rounds, seconds = last["round"] - before["round"], _seconds(last) - _seconds(before)
    if not rounds:
        rounds, seconds = last["round"], _seconds(last)
    return (last["rounds"] - last["round"]) * seconds / rounds


def duration(seconds: float) -> str:
    """12 s, 3 min, or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _alarms(last: Mapping[str, Any] | None) -> str:
    alarms = last["alarms"] if last else []
    rows = (f"<div style='color: {AMBER}'>alarm: {escape(alarm)}</div>" for alarm in alarms)
    return "".join(rows)


def _seconds(event: Mapping[str, Any]) -> float:
    return sum(value for name, value in event["cost"].items() if name.endswith("_s"))
