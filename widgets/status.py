"""How a run stands, in words, for the panel and for headless notebooks; and which of the two this kernel is."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

import ipywidgets
from IPython import get_ipython

from dfkd_lab.engine.recipe import Schedule
from dfkd_lab.engine.report import Report
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.timing import duration, remaining
from widgets.series import Reports

LIVE_VARIABLE = "DFKD_LIVE"
SERVED_VARIABLE = "VOILA_KERNEL_ID"
AMBER = "#c77700"
"""Of lines and grounds; text takes :data:`WARNING`."""
READABLE = "color-mix(in srgb, {} 70%, var(--jp-ui-font-color1, currentColor))"
"""A color nearer to the page's text: at least 4.5 : 1 against its ground, light or dark."""
WARNING, WRONG = READABLE.format(AMBER), READABLE.format("#cf4f62")
ENDED = ("stopped", "failed", "finished")


_turn = threading.RLock()
"""Whose turn it is to show something, of several threads."""


def is_live(requested: bool | None = None) -> bool:
    """Whether somebody watches: ``requested``, else ``$DFKD_LIVE`` (0 or 1), else Voilà, else the front end."""
    if requested is not None:
        return requested
    if os.environ.get(LIVE_VARIABLE):
        return os.environ[LIVE_VARIABLE] == "1"
    if is_served():
        return True
    kernel = getattr(get_ipython(), "kernel", None)
    # JupyterLab can ask for input; papermill and nbclient cannot.
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def is_served() -> bool:
    """Whether Voilà serves this kernel's page, to whoever reaches its address."""
    return bool(os.environ.get(SERVED_VARIABLE))


def line(
    status: Mapping[str, Any], reports: Reports, teacher_accuracy: float | None = None, *, measured: bool = True
) -> str:
    """The state of a run as HTML that a screen reader announces; everything in it is escaped.

    Args:
        status: As its folder has it.
        reports: Its rounds so far.
        teacher_accuracy: In [0, 1].
        measured: Whether with the student's figure; else it stands beside.
    """
    last = reports[-1] if reports else None
    rounds = status.get("rounds") or (last.rounds if last else 0)
    done = last.round if last else 0
    words = [f"<b>{escape(status['state'])}</b>", f"round {done} of {rounds}" if rounds else ""]
    if status["state"] in ("running", "paused") and last:
        words.append(remaining(reports))
    elif last and status["state"] in ENDED:
        words.append(f"{pace(reports)} a round, {duration(last.cost.seconds)} in all")
    evaluated = next((report for report in reversed(reports) if report.accuracy is not None), None)
    if evaluated and measured:
        where = "" if evaluated is last else f" in round {evaluated.round}"
        comparison = f" (teacher {teacher_accuracy:.3f})" if teacher_accuracy is not None else ""
        words.append(f"{escape(evaluated.metric)} {evaluated.accuracy:.3f}{where}{comparison}")
    if last:
        words.append(f"agreement {last.health['agreement']:.3f}")
    words.append(escape(status.get("message") or ""))
    text = " · ".join(word for word in words if word)
    known = "" if status["state"] == "starting" else f"value='{done}' max='{max(rounds, 1)}'"
    bar = f"<progress {known} aria-label='rounds done' style='width: 100%'></progress>"
    return f"<div role='status' aria-live='polite' style='line-height: 1.5'>{text}<br>{bar}{_alarms(last)}</div>"


def pace(reports: Reports) -> str:
    """How long a round took, on average."""
    took = reports[-1].cost.seconds / reports[-1].round
    return f"{took:.2g} s" if took < 90 else duration(took)


def cost_ahead(rounds: int, schedule: Schedule) -> str:
    """What a run will take, as far as its schedule says."""
    synthesis, student = schedule.steps(rounds)
    alone = min(schedule.warm_up, rounds)
    first = f"{alone:,} only synthesize" if alone > 1 else "only synthesizes"
    first = "all only synthesize" if alone == rounds else f"the first {first}"
    kinds = [f"{synthesis:,} synthesis steps"] * bool(synthesis)
    kinds += [f"{student:,} student steps of {schedule.batch:,} images each" if student else "none of the student"]
    return f"This run: {rounds:,} rounds{f' ({first})' if alone else ''}, {', '.join(kinds)}."


def _alarms(last: Report | None) -> str:
    alarms = last.alarms if last else []
    rows = (f"<div style='color: {WARNING}'>alarm: {escape(alarm)}</div>" for alarm in alarms)
    return "".join(rows)


def put(widget: ipywidgets.Widget, value: Any, name: str = "value") -> None:
    """Have a page show ``value``, and send nothing if it does; for what more than one thread sets.

    A page shows what was sent last, and without a turn that may not be what was set last: for good, because what the
    kernel has is not sent again.
    """
    with _turn:
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def sentence(text: str, *, alert: bool = False) -> str:
    """Text as HTML that a screen reader announces, at once if it is an ``alert``; its lines stay lines."""
    role, color = ("alert", f"; color: {WARNING}") if alert else ("status", "")
    return f"<div role='{role}' style='line-height: 1.35; white-space: pre-wrap{color}'>{escape(text)}</div>"


@contextlib.contextmanager
def refused(say: Callable[..., object]) -> Iterator[None]:
    """What is refused in the block becomes a sentence for ``say``, as an ``alert``; what it said before goes first."""
    say("")
    try:
        yield
    except (SpecError, RunError, OSError) as error:
        say(str(error), alert=True)
