"""How a run stands, large: the student's figure beside the teacher's, how long it still takes, and what it has used."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from dfkd_lab.runs import records
from widgets import status
from widgets.series import Reports

STYLE = f"""<style>
.dfkd-headline {{ display: flex; flex-wrap: wrap; align-items: flex-end; gap: 2px 28px; min-height: 54px; }}
.dfkd-headline b.dfkd-figure {{ font-size: 30px; line-height: 1.1; font-weight: 600;
    font-variant-numeric: tabular-nums; }}
.dfkd-headline span.dfkd-what {{ display: block; font-size: 13px; line-height: 1.3; }}
.dfkd-headline > div:first-of-type {{ min-width: 165px; }}
.dfkd-headline div.dfkd-rest {{ flex: 1 1 320px; line-height: 1.4; font-size: 13px; display: grid; }}
.dfkd-rest > div {{ grid-area: 1 / 1; min-width: 0; }}
.dfkd-rest > div.dfkd-reserve {{ visibility: hidden; line-height: 1.5; }}
.dfkd-headline b.dfkd-alarms {{ color: {status.WARNING}; }}
</style>"""
NONE = "–"
USED = "999,999 images synthesized · 999 M teacher queries · 9 alarms, below"
"""As long as what a run has used is written."""


def html(now: Mapping[str, Any], reports: Reports, teacher_accuracy: float | None = None, alarms: int = 0) -> str:
    """The headline as HTML; everything in it is escaped. What is not known yet has its place all the same.

    Args:
        now: The run's status.
        reports: Its rounds so far.
        teacher_accuracy: In [0, 1], if it was measured.
        alarms: That sound now.
    """
    last = reports[-1] if len(reports) else None
    evaluated = next((each for each in reversed(reports) if each.accuracy is not None), None)
    metric = evaluated.metric if evaluated else last.metric if last else "accuracy"
    reached = evaluated.accuracy if evaluated else None
    behind = evaluated is not None and evaluated is not last
    student = f"student {metric}" + (f", round {evaluated.round}" if evaluated and behind else "")
    figures = [_figure(percent(reached), student), _figure(percent(teacher_accuracy), f"teacher {metric}")]
    if last and evaluated is None:  # a run without an evaluation set is known by this
        figures[0] = _figure(percent(last.health.get("agreement")), "agreement with the teacher")
    line = status.line(now, reports, measured=False)
    sounding = f" · <b class='dfkd-alarms'>{alarms} alarm{'s' if alarms > 1 else ''}, below</b>" if alarms else ""
    used = f"<div>{escape(spent(reports))}{sounding}</div>" if last else ""
    rest = f"<div>{used}{line}</div>{_reserve(now.get('rounds') or (last.rounds if last else 0))}"
    return f"{STYLE}<div class='dfkd-headline'>{''.join(figures)}<div class='dfkd-rest'>{rest}</div></div>"


def percent(value: float | None) -> str:
    """A share of 1 as people say it; a dash if it is not known."""
    return NONE if value is None else f"{100 * value:.1f} %"


def spent(reports: Reports) -> str:
    """What a run has used so far."""
    cost = reports[-1].cost
    return f"{short(cost.images)} images synthesized · {short(cost.teacher_queries)} teacher queries"


def short(number: float) -> str:
    """A count in three digits, as in "153,600", "1.54 M"."""
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:,.0f}"


def _reserve(rounds: int) -> str:
    """Room for the longest text that a run of so many rounds comes to, so that nothing below jumps."""
    if not rounds:
        return ""
    verdict = records.verdict({"sessions": [{"sealed_rounds": rounds}]}, rounds)
    longest = f"finished · round {rounds} of {rounds} · 99 min a round, 99 min in all · agreement 0.000"
    text = f"{USED}<br>{longest} · the distillation {verdict}<br><progress></progress>"
    return f"<div class='dfkd-reserve' aria-hidden='true'>{text}</div>"


def _figure(value: str, what: str) -> str:
    return f"<div><b class='dfkd-figure'>{escape(value)}</b><span class='dfkd-what'>{escape(what)}</span></div>"
