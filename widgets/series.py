"""Numbers of a run by round, read off its reports: what a figure draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dfkd_lab.engine.report import Report

Reports = Sequence[Report]
Value = Callable[[Report], float | None]
"""Reads one number of a report; None is a gap."""
MOST_POINTS = 2000
MEAN_OVER_ROUNDS, DEVIATION_OVER_ROUNDS = "mean over rounds (μ)", "deviation over rounds (σ)"
"""PRE-DFKD's expected accuracy, which is no forecast, and its deviation."""


def mean_over_rounds(reports: Reports) -> dict[int, float]:
    """By evaluated round the mean accuracy of the rounds up to it: the expected accuracy, mu, of PRE-DFKD."""
    evaluated = [(report.round, report.accuracy) for report in reports if report.accuracy is not None]
    means = np.cumsum([value for _, value in evaluated]) / np.arange(1, len(evaluated) + 1)
    return {round: float(mean) for (round, _), mean in zip(evaluated, means, strict=True)}


def thin(reports: Reports) -> Reports:
    """At most ``MOST_POINTS`` reports, evenly spread, first and last among them."""
    if len(reports) <= MOST_POINTS:
        return reports
    return [reports[index] for index in np.linspace(0, len(reports) - 1, MOST_POINTS).round().astype(int)]


def column(reports: Reports, value: Value) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One number of every report as float32, which plotly sends as bytes; what is missing is a gap."""
    values = map(value, reports)
    return np.asarray([np.nan if each is None else each for each in values], np.float32)


def smoothed(values: np.ndarray[Any, np.dtype[np.float32]], weight: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The moving mean of ``values``, in which each earlier one counts ``weight`` times what the next one does.

    Gaps stay gaps. The first values are not drawn towards 0.

    Args:
        values: By round, NaN where there is none.
        weight: From 0, as they are, to below 1.
    """
    result, mean, share = values.copy(), 0.0, 0.0
    for place in np.flatnonzero(~np.isnan(values)):
        mean = weight * mean + (1 - weight) * float(values[place])
        share = weight * share + (1 - weight)
        result[place] = mean / share
    return result


def accuracy(report: Report) -> float | None:
    """The student's, where it was evaluated."""
    return report.accuracy


def agreement(report: Report) -> float | None:
    """Of student and teacher."""
    return report.health.get("agreement")


def signal(name: str) -> Value:
    """Reads a health signal."""
    return lambda report: report.health.get(name)


def spent(name: str) -> Value:
    """Reads a cost."""
    return lambda report: getattr(report.cost, name)
