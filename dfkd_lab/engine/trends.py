"""What a single round does not show: a student that learns nothing."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dfkd_lab.engine.recipe import Schedule
from dfkd_lab.engine.report import Report

ROUNDS = 5
"""Rounds in a row that have to agree before an alarm is raised."""
FEWEST_STEPS = 200
"""Student steps before which nobody expects anything."""
CHANCE = 1.5, 0.05
"""Up to so many times 1 / K counts as guessing, and no more than so far above it."""


class _Round(NamedTuple):
    losses: Mapping[str, float]
    agreement: float


class Trends:
    """Alarms from a run's past: accuracy or agreement that stays at chance, a loss of the student that does not fall.

    Args:
        schedule: Of the run; its rate is the likely cause.
        classes: K.
        reports: Of the rounds so far.
    """

    def __init__(self, schedule: Schedule, classes: int, reports: Iterable[Report] = ()):
        self.classes = classes
        rate = f"{schedule.optimizer}, s_lr = {schedule.s_lr:g}"
        self.likely = f"likely its learning rate ({rate}), or images that tell it nothing"
        self.first: list[_Round] = []
        self.last: deque[_Round] = deque(maxlen=ROUNDS)
        self.measured: deque[float] = deque(maxlen=3)
        self.rounds = 0
        for report in reports:
            self._remember(report)

    def alarms(self, report: Report) -> list[str]:
        """What looks wrong now that ``report`` of the next round is there; of it a few figures are remembered."""
        self._remember(report)
        steps = report.cost.s_steps
        if not report.student or steps < FEWEST_STEPS or len(self.last) < ROUNDS:
            return []
        return [*self._guessing(steps, report.metric), *self._not_falling()]

    def _remember(self, report: Report) -> None:
        if not report.student:
            return  # a round of warm-up
        self.rounds += 1
        self.last.append(_Round(report.student, report.health["agreement"]))
        if len(self.first) < ROUNDS:
            self.first.append(self.last[-1])
        if report.accuracy is not None:
            self.measured.append(report.accuracy)

    def _guessing(self, steps: int, metric: str) -> list[str]:
        chance = min(CHANCE[0] / self.classes, 1 / self.classes + CHANCE[1])
        if len(self.measured) == self.measured.maxlen and max(self.measured) <= chance:
            return [f"after {steps:,} steps the student guesses ({metric} {self.measured[-1]:.3f}); {self.likely}"]
        if not self.measured and max(each.agreement for each in self.last) <= chance:
            agreement = self.last[-1].agreement
            return [f"after {steps:,} steps the student agrees by chance ({agreement:.3f}); {self.likely}"]
        return []

    def _not_falling(self) -> list[str]:
        if self.rounds < 2 * ROUNDS or max(each.agreement for each in self.last) > 0.5:
            return []
        alarms = []
        for name in self.last[-1].losses:
            then, now = (
                statistics.median(each.losses.get(name, 0.0) for each in part) for part in (self.first, self.last)
            )
            if now >= 0.99 * then > 0:
                alarms.append(f"the student's loss '{name}' has not fallen in {self.rounds} rounds; {self.likely}")
        return alarms
