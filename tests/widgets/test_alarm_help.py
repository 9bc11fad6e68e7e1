"""Every alarm that the library raises says what it means."""

import re

import pytest

from dfkd_lab.engine import metrics, trends
from dfkd_lab.engine.recipe import Schedule
from dfkd_lab.engine.report import Report
from tests.support import ROOT
from widgets import alarm_help, status


def raised() -> list[str]:
    """One alarm of each kind."""
    dull = {"entropy": 0.0, "distance": 0.0, "agreement": 0.05}
    found = metrics.alarms(dull, {"gap": 0.0}, 10)
    found += metrics._collapse("teacher", [0.9, 0.1, *[0.0] * 9])
    found += metrics._collapse("student", [0.5, 0.45, *[0.0] * 9])
    return found


def of_trends(accuracy: float | None) -> list[str]:
    """What a student raises that learns nothing."""
    seen = trends.Trends(Schedule(g_steps=1, s_steps=50, batch=8, s_lr=0.1), 10)
    found: list[str] = []
    for number in range(1, 12):
        report = Report.from_event(
            {
                "round": number,
                "rounds": 20,
                "terms": {},
                "student": {"kd": 1.0},
                "health": {"agreement": 0.1, "entropy": 2.0, "confidence": 0.5},
                "alarms": [],
                "accuracy": accuracy,
                "cost": {"s_steps": 1000},
            }
        )
        found += seen.alarms(report)
    return found


def test_every_alarm_has_a_meaning_a_cure_and_a_lesson_that_is_there() -> None:
    alarms = [*raised(), *of_trends(0.1), *of_trends(None)]
    known = {each.sign for alarm in alarms if (each := alarm_help.find(alarm))}
    assert all(alarm_help.find(alarm) for alarm in alarms), alarms
    assert known == {each.sign for each in alarm_help.HELP}, "and there is no help for what is never raised"
    for each in alarm_help.HELP:
        assert (ROOT / "notebooks" / f"{each.lesson}.ipynb").is_file()
        assert not re.search(r"\d\.\d", each.cure), "a cure names a setting, and no value for everybody"


def test_a_served_page_has_no_link_to_a_notebook_that_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "<a href='21_the_adversarial_game.ipynb'" in alarm_help.html(
        "the images are all alike (mean distance 0.001)"
    )
    monkeypatch.setenv(status.SERVED_VARIABLE, "kernel")
    assert "<a " not in alarm_help.html("the images are all alike (mean distance 0.001)")
    assert alarm_help.html("an alarm of a plug-in") == ""
