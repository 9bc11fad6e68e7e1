"""A student that learns nothing raises an alarm, with its likely cause; one that learns does not."""

from typing import Any

import pytest

from dfkd_lab.engine.recipe import Schedule
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.engine.trends import ROUNDS, Trends

SCHEDULE = Schedule(g_steps=1, s_steps=50, batch=8, s_lr=0.1)


def report(round: int, *, agreement: float, kd: float = 1.0, accuracy: float | None = None, **more: Any) -> Report:
    health, cost = {"agreement": agreement}, Cost(s_steps=50 * round)
    values = {"terms": {}, "student": {"kd": kd}, "alarms": [], **more}
    return Report(round, 100, health=health, cost=cost, accuracy=accuracy, **values)


def raised(reports: list[Report]) -> list[list[str]]:
    trends = Trends(SCHEDULE, 10)
    return [trends.alarms(each) for each in reports]


def test_an_accuracy_that_stays_at_chance_is_said_with_its_likely_cause() -> None:
    found = raised([report(n, agreement=0.9, accuracy=0.1) for n in range(1, 8)])
    assert found[: ROUNDS - 1] == [[]] * (ROUNDS - 1)
    assert found[-1] == [
        "after 350 steps the student guesses (accuracy 0.100); likely its learning rate (sgd, s_lr = 0.1), or images "
        "that tell it nothing"
    ]


def test_without_data_agreement_that_stays_at_chance_is_said() -> None:
    found = raised([report(n, agreement=0.12) for n in range(1, 8)])
    assert "agrees by chance (0.120)" in found[-1][0]
    assert not raised([report(n, agreement=0.12, accuracy=0.8, kd=1 / n) for n in range(1, 8)])[-1]


def test_a_loss_that_does_not_fall_is_said_unless_the_student_agrees() -> None:
    flat = raised([report(n, agreement=0.3) for n in range(1, 11)])
    assert [len(each) for each in flat] == [0] * 9 + [1]
    assert "the student's loss 'kd' has not fallen in 10 rounds" in flat[-1][0]
    assert not raised([report(n, agreement=0.3, kd=1 / n) for n in range(1, 11)])[-1]
    assert not raised([report(n, agreement=0.9) for n in range(1, 11)])[-1]  # an adversary keeps it up


def test_a_student_that_has_hardly_begun_is_left_alone() -> None:
    assert not any(raised([report(n, agreement=0.1, student={}) for n in range(1, 20)]))
    early = [report(n, agreement=0.1) for n in range(1, 9)]
    for each in early:
        each.cost.s_steps = 10
    assert not any(raised(early))


@pytest.mark.parametrize("known", [0, 3, 6, 9])
def test_a_resumed_run_says_what_an_uninterrupted_one_does(known: int) -> None:
    reports = [report(n, agreement=0.1, accuracy=0.1) for n in range(1, 13)]
    resumed = Trends(SCHEDULE, 10, reports[:known])
    assert [resumed.alarms(each) for each in reports[known:]] == raised(reports)[known:]


def test_two_classes_are_not_guessed_at_seventy_percent() -> None:
    trends = Trends(SCHEDULE, 2)
    assert not any(trends.alarms(report(n, agreement=0.7, accuracy=0.7 + n / 100)) for n in range(1, 9))
    assert trends.alarms(report(9, agreement=0.5, accuracy=0.5)) == []
    for n in range(10, 13):
        said = trends.alarms(report(n, agreement=0.5, accuracy=0.5))
    assert "guesses (accuracy 0.500)" in said[0]
