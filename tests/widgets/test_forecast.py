"""The forecast of a choice: timed once a pair of networks, away from the clicks, and only for what is still chosen."""

import threading
from typing import Any

import pytest

from dfkd_lab import plan
from dfkd_lab.runs import timing
from widgets.forecast import Forecast

pytestmark = pytest.mark.slow


def settled() -> None:
    for thread in threading.enumerate():
        if thread.name == "dfkd_lab forecast":
            thread.join(60)


def test_a_pair_is_timed_once_and_other_rounds_are_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Any] = []
    measure = timing.time_a_step
    monkeypatch.setattr(timing, "time_a_step", lambda run, shape: timed.append(shape) or measure(run, shape))
    forecast, said = Forecast(), list[str]()
    forecast.show(plan(method="dafl", rounds=2), said.append)
    settled()
    assert said[0].startswith("It takes about ")
    forecast.show(plan(method="dafl", rounds=2_000_000), said.append)
    assert " days on this CPU" in said[1], "at once"
    assert timed == [(1, 16, 16)]


def test_what_was_left_meanwhile_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(run: Any, shape: Any) -> timing.Speed:
        begun.set()
        assert go.wait(60)
        return timing.Speed(1e9, 1e9)

    monkeypatch.setattr(timing, "time_a_step", slow)
    forecast, said = Forecast(), list[str]()
    forecast.show(plan(method="dafl", rounds=2), lambda text: said.append("first"))
    assert begun.wait(60)
    forecast.show(plan(method="dafl", rounds=2, student="convnet_16"), lambda text: said.append("second"))
    go.set()
    settled()
    assert set(said) == {"second"}
