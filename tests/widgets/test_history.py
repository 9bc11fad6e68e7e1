import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import RunFolder
from dfkd_lab.errors import DamagedFile
from widgets import figures, live
from widgets.history import MOST_REPORTS, History

pytestmark = pytest.mark.slow

ROUNDS = 100_000


def event(round_: int, alarms: tuple[str, ...] = ()) -> dict[str, Any]:
    health = dict.fromkeys(figures.HEALTH, 0.5)
    cost = {"synthesis_s": round_, "s_steps": round_}
    return {"round": round_, "rounds": ROUNDS + 1, "accuracy": round_ / ROUNDS, "health": health, "alarms": [*alarms],
            "cost": cost, "terms": {"label": 1.0}, "student": {"kd": 1.0}, "memory": None}  # fmt: skip


@pytest.fixture
def long(tmp_path: Path) -> RunFolder:
    """A run of 100,000 rounds, of which the last but one had an alarm."""
    rounds = (event(n, ("collapse (entropy 0.1)",) if n == ROUNDS - 1 else ()) for n in range(1, ROUNDS + 1))
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rounds))
    return RunFolder(tmp_path)


def append(folder: RunFolder, text: str) -> None:
    with (folder.path / "events.jsonl").open("a") as file:
        file.write(text)


def test_a_long_run_is_few_events_evenly_spread_and_all_of_its_alarms(long: RunFolder) -> None:
    history = History(long)
    assert history.read()
    rounds = [each.round for each in history.reports]
    assert MOST_REPORTS / 2 <= len(rounds) <= MOST_REPORTS + 1
    assert (rounds[0], rounds[-1]) == (1, ROUNDS)
    steps = {after - before for before, after in pairwise(rounds[:-1])}
    assert len(steps) == 1
    assert history.means[ROUNDS] == pytest.approx((ROUNDS + 1) / 2 / ROUNDS), "the mean is over all rounds"
    (alarm,) = history.alarms.values()
    assert (alarm.text, alarm.first, alarm.last) == ("collapse", ROUNDS - 1, ROUNDS - 1)


@pytest.mark.parametrize("every", [2, 3, 64])
def test_a_long_run_that_is_not_always_evaluated_keeps_the_rounds_that_were(tmp_path: Path, every: int) -> None:
    logged = [event(n) if n % every == 0 else {**event(n), "accuracy": None} for n in range(1, 20_000)]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in logged))
    history = History(RunFolder(tmp_path))
    history.read()
    rounds = [each.round for each in history.reports]
    evaluated = [each.round for each in history.reports if each.accuracy is not None]
    assert rounds == sorted(set(rounds))
    assert len(rounds) <= 2 * (MOST_REPORTS + 1)
    assert min(19_999 // every, MOST_REPORTS / 2) <= len(evaluated)
    assert evaluated[-1] == 19_999 // every * every
    assert rounds[-1] == 19_999
    assert history.means[evaluated[-1]] == pytest.approx((every + evaluated[-1]) / 2 / ROUNDS)


def test_what_is_being_written_is_read_when_it_is_whole(long: RunFolder) -> None:
    history = History(long)
    history.read()
    text = json.dumps(event(ROUNDS + 1)) + "\n"
    append(long, text[:40])
    assert not history.read()
    append(long, text[40:])
    assert history.read()
    assert history.reports[-1].round == ROUNDS + 1


def test_a_long_run_sends_little_and_nothing_when_nothing_is_new(
    long: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    view = live.Live()
    view.attach(long)
    monkeypatch.setattr(
        type(view.widget.comm),
        "publish_msg",
        lambda self, kind, data=None, **rest: sent.append(len(json.dumps(data, default=str))),
    )
    view.refresh()
    assert 0 < sum(sent) < 300_000
    sent.clear()
    view.refresh()
    assert sent == []
    append(long, json.dumps(event(ROUNDS + 1)) + "\n")
    view.refresh()
    assert 0 < len(sent) <= 4, "the chart, and what its words became"
    assert sum(sent) < 300_000
    view.close()


def test_nothing_is_drawn_more_than_four_times_a_second() -> None:
    assert live.PERIOD_S >= 0.25
    assert live.IMAGE_PERIOD_S >= 0.25


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_log_is_a_sentence_and_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "events.jsonl")
    for read in (History(RunFolder(tmp_path)).read, RunFolder(tmp_path).reports, RunFolder(tmp_path).result):
        with pytest.raises(DamagedFile, match=r"events.jsonl is no file; put it back"):
            read()
