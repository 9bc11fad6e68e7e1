"""How much a page is sent while it watches a long run among many."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comm
import pytest

from dfkd_lab import RunFolder
from tests.widgets.conftest import DummyComm
from widgets import live, panel, run_table, samples

LOOKS, RUNS, ROUNDS = 40, 50, 10_000
MOST_BYTES_PER_S, MOST_UPDATES_PER_S = 200_000, 4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock of the widgets that a test turns."""
    now = SimpleNamespace(seconds=1000.0)
    time = SimpleNamespace(monotonic=lambda: now.seconds)
    for module in (live, run_table, samples):
        monkeypatch.setattr(module, "time", time)
    return now


def lengthened(folder: RunFolder) -> Callable[[], None]:
    """``folder`` as that of a long run that is on; the function adds a round."""
    first, *_ = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
    status = json.loads((folder.path / "status.json").read_text())

    def line(number: int) -> str:
        values = {**first, "round": number, "rounds": 2 * ROUNDS, "accuracy": number % 97 / 97}
        return json.dumps(values) + "\n"

    done = ROUNDS
    (folder.path / "events.jsonl").write_text("".join(map(line, range(1, done + 1))))

    def go_on() -> None:
        nonlocal done
        done += 1
        with (folder.path / "events.jsonl").open("a") as events:
            events.write(line(done))
        content = {**status, "state": "running", "round": done, "rounds": 2 * ROUNDS, "events_bytes": 0}
        (folder.path / "status.json").write_text(json.dumps(content))
        shutil.copy(folder.sample(1), folder.sample(done))
        shutil.copy(folder.sample(1).with_suffix(".json"), folder.sample(done).with_suffix(".json"))

    return go_on


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_a_long_run_among_many_is_watched_over_a_slow_line(
    smoothing: float, make_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    folder: RunFolder = make_folder("watched")
    for number in range(RUNS - 1):
        shutil.copytree(folder.path, tmp_path / "runs" / f"other{number}")
    go_on = lengthened(folder)
    sent: list[tuple[float, int, tuple[str, ...]]] = []

    class Counting(DummyComm):
        def publish_msg(self, *words: Any, **more: Any) -> None:
            data, buffers = more.get("data"), more.get("buffers")
            size = len(json.dumps(data, default=str)) + sum(len(each) for each in buffers or ())
            sent.append((clock.seconds, size, tuple((data or {}).get("state", ()))))

    monkeypatch.setattr(comm, "create_comm", Counting)
    monkeypatch.setattr(live.Live, "start", lambda self: None)
    shown = panel.Panel(tmp_path / "runs", live=True)
    shown.attach(folder)
    shown.live.smoothing.value = smoothing
    shown.live.refresh()
    sent.clear()
    for _ in range(LOOKS):
        clock.seconds += live.PERIOD_S
        go_on()
        shown.live.refresh()
    shown.close()
    seconds = LOOKS * live.PERIOD_S
    assert sum(size for _, size, _ in sent) / seconds <= MOST_BYTES_PER_S
    assert len({when for when, _, _ in sent}) / seconds <= MOST_UPDATES_PER_S
    charts = [when for when, _, names in sent if "figure" in names]
    assert len(charts) >= 5, "and the chart goes on"
