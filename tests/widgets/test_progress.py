import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import Session, plan
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.runs import timing
from widgets import Progress, progress, status


class Handle:
    """What ``display`` gives back: remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, shown: Any) -> None:
        self.shown.append(shown.data)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    made = Handle()
    monkeypatch.setattr(progress, "display", lambda shown, display_id: made.update(shown) or made)
    return made


def session(tmp_path: Path, rounds: int) -> Session:
    return Session(plan(method="dafl", rounds=rounds, cycles=1, batch=16, width=8, z_dim=8, out=str(tmp_path / "run")))


def test_headless_a_run_is_some_lines_of_html(tmp_path: Path, handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PERIOD_S", 0)
    running, before = session(tmp_path, 3), [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    shown = Progress(running, live=False)
    for report in running:
        shown.show(report)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert [f"round {number} of 3" in text for number, text in enumerate(handle.shown[1:], 1)] == [True] * 3
    assert "finished" in handle.shown[-1]
    assert all(len(text) < 2000 for text in handle.shown)
    assert "role='status' aria-live='polite'" in handle.shown[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_run_after_its_round(tmp_path: Path, handle: Handle, number: int) -> None:
    running = session(tmp_path, 50)
    shown = Progress(running, live=False)
    for report in running:
        os.kill(os.getpid(), number)
        shown.show(report)
    now = running.folder.status()
    assert (now["state"], now["round"]) == ("stopped", 1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a later run in this kernel has its own answer"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(status.LIVE_VARIABLE, raising=False)
    monkeypatch.delenv("VOILA_KERNEL_ID", raising=False)
    assert not status.is_live()
    for allowed in (True, False):
        kernel = type("Kernel", (), {"get_parent": lambda self, allowed=allowed: {"content": {"allow_stdin": allowed}}})
        monkeypatch.setattr(status, "get_ipython", lambda kernel=kernel: type("Shell", (), {"kernel": kernel()}))
        assert status.is_live() is allowed
    monkeypatch.setenv("VOILA_KERNEL_ID", "1")
    assert status.is_live()
    monkeypatch.setenv(status.LIVE_VARIABLE, "0")
    assert not status.is_live()
    assert status.is_live(True)


def test_the_line_escapes_what_files_say_and_shows_alarms() -> None:
    event = Report(1, 4, {}, {}, {"agreement": 0.5}, ["<b>odd"], None, cost=Cost(synthesis_s=20.0, images=7, s_steps=1))
    line = status.line({"state": "running", "message": "<i>"}, [event], None)
    assert "<i>" not in line
    assert "alarm: &lt;b&gt;odd" in line
    assert "60 s left" in line


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_are_read_by_people(seconds: float, words: str) -> None:
    assert timing.duration(seconds) == words
