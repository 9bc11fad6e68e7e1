"""Another run in the place of the one that is watched or read: all that is shown and given is of the new one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfkd_lab import RunFolder
from tests.widgets.conftest import run_tiny
from widgets import live, samples
from widgets.history import History
from widgets.live import Live

Replace = Callable[[RunFolder, RunFolder], None]


def in_its_place(folder: RunFolder, other: RunFolder) -> None:
    """By another folder, as ``mv`` does."""
    folder.path.rename(folder.path.with_name("old"))
    shutil.copytree(other.path, folder.path)


def under_its_numbers(folder: RunFolder, other: RunFolder) -> None:
    """Every file keeps its inode, as ext4 gives those of removed files to the next ones."""
    for file in [each for each in other.path.rglob("*") if each.is_file()]:
        (folder.path / file.relative_to(other.path)).write_bytes(file.read_bytes())


BOTH = pytest.mark.parametrize("replace", [in_its_place, under_its_numbers])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock of the widgets that a test turns."""
    now = SimpleNamespace(seconds=1000.0)
    for module in (live, samples):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def other(tmp_path: Path) -> RunFolder:
    """A run of another seed, of as many rounds."""
    return run_tiny(tmp_path / "runs" / "other", seed=5)


@BOTH
def test_a_view_shows_the_new_run(replace: Replace, make_folder: Any, other: RunFolder, clock: SimpleNamespace) -> None:
    folder: RunFolder = make_folder("watched")
    watching, fresh = Live(), Live()
    watching.attach(folder)
    watching.refresh()
    before = shown(watching)
    replace(folder, other)
    clock.seconds += 60
    watching.refresh()
    fresh.attach(folder)
    fresh.refresh()
    assert shown(watching) == shown(fresh)
    assert all(now != then for now, then in zip(shown(watching), before, strict=True))
    watching.close()
    fresh.close()


def shown(view: Live) -> tuple[Any, ...]:
    events = [each.event() for each in view.history.reports]
    return events, view.status.value, str(view.samples.grid.content), view.commands.commands["a shell"]


@BOTH
def test_an_enlarged_image_of_the_old_run_does_not_stay(
    replace: Replace, make_folder: Any, other: RunFolder, clock: SimpleNamespace
) -> None:
    folder: RunFolder = make_folder("watched")
    view = Live()
    view.attach(folder)
    view.refresh()
    grid = str(view.samples.grid.content)
    view.samples.press("0")
    replace(folder, other)
    clock.seconds += 60
    view.refresh()
    assert "previous" not in str(view.samples.grid.content)
    assert str(view.samples.grid.content) != grid
    view.close()


@BOTH
def test_reports_are_those_of_the_new_run(replace: Replace, make_folder: Any, other: RunFolder) -> None:
    folder: RunFolder = make_folder("read")
    history = History(folder)
    history.read()
    seen = len(folder.reports())
    replace(folder, other)
    expected = [each.event() for each in other.reports()]
    assert folder.reports(seen) == []
    assert [each.event() for each in folder.reports()] == expected
    assert history.read()
    assert [each.event() for each in history.reports] == expected


def test_a_run_that_has_not_begun_has_no_rounds_of_the_one_before(make_folder: Any) -> None:
    folder: RunFolder = make_folder("read")
    history = History(folder)
    history.read()
    (folder.path / "events.jsonl").unlink()
    assert history.read()
    assert history.reports == []
    assert not history.read()


def test_a_folder_that_was_moved_stays_in_sight(make_folder: Any) -> None:
    folder: RunFolder = make_folder("read")
    history = History(folder)
    history.read()
    folder.path.rename(folder.path.with_name("moved"))
    assert not history.read()
    assert len(history.reports) == 2


def test_an_added_round_is_all_that_is_read(make_folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder: RunFolder = make_folder("read")
    log = folder.path / "events.jsonl"
    first, second = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first)
    history = History(folder)
    history.read()
    monkeypatch.setattr(history, "_forget", lambda: pytest.fail("it was the same log"))
    with log.open("ab") as events:
        events.write(second)
    assert history.read()
    assert len(history.reports) == 2


def test_a_resumed_run_is_read_again(make_folder: Any) -> None:
    folder: RunFolder = make_folder("read")
    history, log = History(folder), folder.path / "events.jsonl"
    history.read()
    kept = log.with_name("kept")
    kept.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    os.replace(kept, log)  # noqa: PTH105 - as write_atomically does
    assert history.read()
    assert [each.round for each in history.reports] == [1]
