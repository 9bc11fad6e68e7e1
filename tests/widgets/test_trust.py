"""The panel and Python files: what is typed is executed, what a run folder names only if a person says so."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import RunFolder, plan, prepare
from dfkd_lab.nets import python_file
from tests.support import own_file
from widgets import Panel, cards, compare, forecast, live, panel, trust

pytestmark = pytest.mark.slow

RUNNING = '{"state": "%s", "round": 1, "rounds": 2, "message": "", "pid": %d, "host": "elsewhere"}'


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Folder and trust of each run that was begun; nothing trains."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(panel, "launch", lambda folder, trust_code: found.append((folder.name, trust_code)))
    return found


@pytest.fixture
def make_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Panel]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live.Live, "start", lambda self: self.refresh())
    monkeypatch.setattr(forecast.Forecast, "show", lambda self, *wanted: None)
    monkeypatch.setattr(cards.Cards, "_in_thread", lambda self, *wanted: None)
    made: list[Panel] = []
    yield lambda: made.append(Panel(tmp_path / "runs", live=True)) or made[-1]
    for each in made:
        each.close()


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that somebody else has on, of a student whose file leaves a mark when it is executed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_file())
    folder = prepare(plan(method="dafl", student="my.py:Mine", rounds=2, out=str(tmp_path / "runs" / "theirs")))
    (tmp_path / "my.py").write_text(own_file(marker=tmp_path / "marker"))
    (folder.path / "status.json").write_text(RUNNING % ("running", os.getpid()))
    python_file.TRUSTED.clear()
    return folder


def shows_button(shown: Panel) -> bool:
    return shown.choice.trust.button.layout.display != "none"


def test_a_typed_file_is_the_student(make_panel: Any, launched: Any, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(own_file())
    shown = make_panel()
    shown.choice.run_form.value = {"method": "dafl", "student": "my.py:Mine"}
    assert not shown.choice.problem
    assert "Student my.py:Mine" in shown.choice.cards.student.value
    shown.buttons["Start"].click()
    assert launched == [("dafl-digits-my-Mine-seed0", "unchanged")]
    shown.choice.run_form.value = {"student": "my.py:Mien"}
    assert "did you mean &#x27;Mine&#x27;" in shown.message.value
    assert shown.choice.run_form.fields["student"]._blame
    assert not shows_button(shown)


def test_a_file_that_a_folder_names_waits_for_a_person(
    make_panel: Any, launched: Any, theirs: RunFolder, tmp_path: Path
) -> None:
    shown = make_panel()
    assert shown.live.folder.name == "theirs", "it is watched"
    assert "was named by a run folder, not by you" in shown.message.value
    assert shows_button(shown)
    assert shown.buttons["Start"].disabled
    shown.widget.selected_index = 1
    compare.Compare(tmp_path / "runs", live=True)
    shown.live.refresh()
    shown.choice.run_form.value = {"rounds": 3}
    assert not (tmp_path / "marker").exists()
    shown.choice.trust.button.click()
    assert not shown.choice.problem
    assert not shows_button(shown)
    assert (tmp_path / "marker").exists()
    shown.buttons["Start"].click()
    assert [how for _, how in launched] == ["unchanged"]


def test_a_stopped_run_of_somebody_else_is_resumed_once_its_file_is_trusted(
    make_panel: Any, launched: Any, theirs: RunFolder, tmp_path: Path
) -> None:
    (theirs.path / "status.json").write_text(RUNNING % ("stopped", 1))
    shown = make_panel()
    shown.attach(theirs)
    shown.live.refresh()
    shown.buttons["Resume"].click()
    assert f"{tmp_path / 'my.py'}" in shown.message.value
    assert trust.PRESS in shown.message.value
    assert (launched, shows_button(shown)) == ([], True)
    shown.choice.trust.button.click()
    shown.buttons["Resume"].click()
    assert launched == [("theirs", "unchanged")]
    assert not (tmp_path / "marker").exists(), "its process executes it, not this one"


def test_a_served_page_executes_no_file(
    make_panel: Any, launched: Any, theirs: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOILA_KERNEL_ID", "1")
    shown = make_panel()
    assert "allowed on a served page: a network by name" in shown.message.value
    shown.choice.run_form.value = {"student": f"{tmp_path / 'my.py'}:Mine", "method": "dafl"}
    assert "allowed on a served page: a network by name" in shown.message.value
    (theirs.path / "status.json").write_text(RUNNING % ("stopped", 1))
    shown.live.refresh()
    shown.buttons["Resume"].click()
    assert not launched
    assert not shows_button(shown)
    assert not (tmp_path / "marker").exists()
