import dataclasses
import threading
import time
from typing import Any

import ipywidgets
import pytest

from dfkd_lab.engine.recipe import Schedule
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.runs import timing
from widgets import status


def report(round_: int, seconds: float, s_steps: int, accuracy: float | None = 0.5) -> Report:
    cost = Cost(synthesis_s=seconds, s_steps=s_steps, images=7)
    return Report(round_, 10, {}, {}, {"agreement": 0.5}, [], accuracy, cost=cost)


def test_rounds_of_warm_up_say_nothing_of_the_time_left() -> None:
    reports = [report(1, 1, 0), report(2, 2, 0)]
    assert "known once the student starts" in status.line({"state": "running"}, reports)
    reports += [report(3, 12, 40)]
    assert timing.time_left(reports) == 70, "seven rounds more like the one in which the student learned"
    assert "about 70 s left" in status.line({"state": "running"}, reports)
    reports += [report(4, 26, 80)]
    assert timing.time_left(reports) == 72


def test_the_accuracy_is_that_of_the_last_evaluated_round() -> None:
    reports = [report(1, 1, 40), report(2, 2, 80, 0.7), report(3, 3, 120, None)]
    assert "accuracy 0.700 in round 2 (teacher 0.900)" in status.line({"state": "running"}, reports, 0.9)
    assert "accuracy 0.700 (teacher 0.900)" in status.line({"state": "running"}, reports[:2], 0.9)
    assert "accuracy" not in status.line({"state": "running"}, reports[2:], 0.9)


def test_what_a_file_says_is_escaped() -> None:
    hostile = dataclasses.replace(report(1, 1, 40), metric="<img src=x>", alarms=["<img src=y>"])
    line = status.line({"state": "<img src=z>", "message": "<img src=w>"}, [hostile])
    assert line.count("&lt;img") == 4
    assert "<img" not in line


def test_an_ended_run_says_what_a_round_took() -> None:
    line = status.line({"state": "finished"}, [report(1, 3, 40), report(2, 5, 80)])
    assert "2.5 s a round, 5 s in all" in line
    assert "left" not in line


def test_what_a_run_will_take_is_read_off_its_schedule() -> None:
    schedule = Schedule(g_steps=3, s_steps=5, batch=10, s_lr=0.1, cycles=2, warm_up=1)
    text = status.cost_ahead(4, schedule)
    assert text == (
        "This run: 4 rounds (the first only synthesizes), 24 synthesis steps, 30 student steps of 10 images each."
    )
    short = "This run: 1 rounds (all only synthesize), 6 synthesis steps, none of the student."
    assert status.cost_ahead(1, schedule) == short


def test_what_two_threads_set_reaches_the_page_in_that_order(monkeypatch: pytest.MonkeyPatch) -> None:
    button, sent, second_is_sent = ipywidgets.Button(), list[bool](), threading.Event()

    def slowly(widget: ipywidgets.Button, message: dict[str, Any], buffers: Any = None) -> None:
        if not sent and threading.current_thread() is first:
            second_is_sent.wait(0.3)  # as a thread that has to wait for a core between what it sets and what it sends
        sent.append(message["state"]["disabled"])

    monkeypatch.setattr(ipywidgets.Button, "_send", slowly)
    first = threading.Thread(target=status.put, args=(button, True, "disabled"))
    first.start()
    while not button.disabled:
        time.sleep(0.001)
    status.put(button, False, "disabled")
    second_is_sent.set()
    first.join()
    assert (sent, button.disabled) == ([True, False], False)
