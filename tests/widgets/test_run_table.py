"""The table of runs: read cheaply, sent when it changed, and what a person does in it done to the folder or refused."""

import dataclasses
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ipywidgets.widgets.widget import _instances

from dfkd_lab import RunFolder, RunSpec, plan, prepare
from dfkd_lab.runs import contents, folder, keeping
from widgets import form, run_rows, run_table
from widgets.run_table import RunTable

HOSTILE = "<img src=x onerror=alert(1)>"
Make = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    return plan(method="dafl", rounds=2).spec


@pytest.fixture
def make(spec: RunSpec, tmp_path: Path) -> Make:
    """``make(name, state, last)``: a run folder as a list reads it, each newer than the one before."""
    made: list[RunFolder] = []

    def one(name: str, state: str = "finished", last: float | None = 0.5) -> RunFolder:
        found = prepare(dataclasses.replace(spec, out=str(tmp_path / "runs" / name)))
        write(found, state, last)
        made.append(found)
        os.utime(found.path, (len(made), len(made)))
        return found

    return one


def write(found: RunFolder, state: str, last: float | None, metric: str = "accuracy") -> None:
    result = {"rounds": 1, "seconds": 1.0, "last": last, "mu": last, "metric": metric}
    process = {"pid": os.getpid(), "host": socket.gethostname()}
    status = {"state": state, "round": 1, "rounds": 2, "message": "why", **process, "result": result}
    (found.path / "status.json").write_text(json.dumps(status))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunTable:
    monkeypatch.setattr(run_table, "LISTED_EVERY_S", 0)
    return RunTable(tmp_path / "runs", lambda folder: None)


def do(table: RunTable, what: str, **given: str | list[str]) -> str:
    """What the table says when the page sends that; a refusal ends in an exclamation mark."""
    table._hear(table, {"do": what, **given}, [])
    return table.said + "!" * table.alert


def test_a_row_says_what_the_folder_keeps(table: RunTable, make: Make) -> None:
    make("old", "failed", None)
    named = make("lesson/new", last=0.98765)
    keeping.write_label(named, HOSTILE, ["paper", "best"])
    manifest = {
        "method": {"name": "fast"},
        "teacher": {"name": "resnet20@/of/mine/a.pth"},
        "student": {"net": "resnet8"},
    }
    (named.path / "manifest.json").write_text(json.dumps(manifest))
    table.refresh()
    new, old = table.rows
    assert new == {
        **{"name": "lesson/new", "method": "fast", "pair": "resnet20@a.pth → resnet8"},
        **{"networks": "resnet20@/of/mine/a.pth → resnet8"},
        **{"last": 0.98765, "mu": 0.98765, "metric": "accuracy", "state": "finished", "why": "why"},
        **{"note": HOSTILE, "tags": ["paper", "best"]},
    }
    assert (old["method"], old["pair"], old["last"]) == ("dafl", "digits → convnet_8", None)
    assert (old["state"], old["why"]) == ("failed", "why")


def test_a_damaged_folder_is_a_row_that_says_so(table: RunTable, make: Make) -> None:
    for name in ("status.json", "label.json", "manifest.json", "spec.yaml"):
        (make(name).path / name).write_text("[")
    make("sound")
    table.refresh()
    assert {row["name"]: row["state"] for row in table.rows} == {
        "sound": "finished",
        **dict.fromkeys(("status.json", "label.json", "manifest.json", "spec.yaml"), "damaged"),
    }
    assert all(row["name"] in row["why"] for row in table.rows if row["state"] == "damaged")


def test_no_log_is_read_and_no_file_twice(table: RunTable, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        make(f"run{number}")
    monkeypatch.setattr(contents, "report", None)
    read: list[str] = []
    row_of = run_rows.row_of
    monkeypatch.setattr(run_rows, "row_of", lambda name, folder: read.append(name) or row_of(name, folder))
    for _ in range(3):
        table.refresh()
    assert len(read) == 30
    keeping.write_label(table.folders["run7"], "changed")
    table.refresh()
    assert read[30:] == ["run7"]


def test_a_run_at_work_changes_its_row_a_few_times_a_minute_and_its_state_at_once(
    table: RunTable, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    on = make("on", "running", 0.1)
    table.refresh()
    for last in range(2, 9):
        clock[0] += 2.0
        write(on, "running", last / 10)
        table.refresh()
    assert table.rows[0]["last"] == 0.1, "14 s later"
    clock[0] += 2.0
    table.refresh()
    assert table.rows[0]["last"] == 0.8
    write(on, "finished", 0.9)
    table.refresh()
    assert (table.rows[0]["state"], table.rows[0]["last"]) == ("finished", 0.9)


def test_rows_are_sent_when_one_changed_and_five_hundred_are_kilobytes(
    table: RunTable, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(RunTable, "_send", lambda self, message, buffers=None: sent.append(len(json.dumps(message))))
    first = make("run0")
    for number in range(1, 500):
        path = tmp_path / "runs" / f"a-run-with-quite-a-long-name-seed{number}"
        path.mkdir()
        for file in first.path.iterdir():
            (path / file.name).hardlink_to(file)
    table.refresh()
    assert len(table.rows) == 500
    count = len(sent)
    for _ in range(5):
        table.refresh()
    assert len(sent) == count
    write(make("newest"), "running", 0.2)
    table.refresh()
    assert len(sent) == count + 1
    assert sent[-1] < 200_000


def test_at_most_the_two_newest_that_finished_are_marked_until_a_person_does(table: RunTable, make: Make) -> None:
    for name in ("a", "over-seed/b", "dense", "c", "lessons/d"):
        make(name)
    write(RunFolder(table.root / "dense"), "finished", 0.5, metric="mIoU")
    make("on", "running")
    table.refresh()
    assert table.marked == ["c", "over-seed/b"], "none of another metric, and of a lesson only if somebody asks for it"
    write(table.folders["on"], "finished", 0.5)
    table.refresh()
    assert table.marked == ["on", "c"]
    table.set_state({"marked": ["a", "over-seed/b"]})
    make("e")
    table.refresh()
    assert table.marked == ["a", "over-seed/b"]
    do(table, "delete", name="over-seed/b")
    do(table, "change", name="a", to="better", note="", tags="")
    assert table.marked == ["better"]


def test_a_change_is_written_or_refused_as_a_whole(table: RunTable, make: Make, tmp_path: Path) -> None:
    make("taken")
    make("lesson/one")
    table.refresh()
    said = do(table, "change", name="lesson/one", to=" two ", note=HOSTILE, tags="paper, ,best,paper")
    assert said == "lesson/one is now lesson/two."
    assert contents.label(tmp_path / "runs/lesson/two") == {"note": HOSTILE, "tags": ["paper", "best"]}
    assert [row["name"] for row in table.rows] == ["lesson/two", "taken"]
    assert do(table, "change", name="lesson/two", to="two", note="n", tags="") == (
        "The note and the tags of lesson/two are kept."
    )
    before = [dict(row) for row in table.rows]
    for wrong, reason in (
        ({"to": "three", "note": "x" * 501}, "note has 501 characters; allowed: up to 500!"),
        ({"to": "three", "tags": "t" * 41}, "allowed: 1 to 40 characters of a line, and no comma!"),
        ({"to": "../three", "note": "other"}, "is no name for a run folder"),
        ({"to": ".hidden", "note": "other"}, "is no name for a run folder"),
        ({"to": " ", "note": "other"}, "is no name for a run folder"),
    ):
        given = {"name": "lesson/two", "note": "", "tags": "", **wrong}
        assert reason in do(table, "change", **given)
        assert table.alert
        assert table.rows == before, "all of it, or nothing"
    make("lesson/three")
    assert "is taken in" in do(table, "change", name="lesson/two", to="three", note="", tags="")


def test_what_is_deleted_comes_back_the_last_one_first(table: RunTable, make: Make, tmp_path: Path) -> None:
    for name in ("one", "lesson/two"):
        make(name)
    table.refresh()
    assert do(table, "delete", name="one") == "one is in the bin."
    assert do(table, "delete", name="lesson/two") == "lesson/two is in the bin."
    assert (table.rows, table.deleted) == ([], "lesson/two")
    make("one", last=0.7)
    assert do(table, "undo") == "lesson/two is back."
    assert table.deleted == "one"
    assert do(table, "undo") == "one is back as one-2."
    assert table.deleted == ""
    assert do(table, "undo") == "nothing was deleted here!"
    assert {row["name"]: row["last"] for row in table.rows} == {"one": 0.7, "one-2": 0.5, "lesson/two": 0.5}


def test_the_bin_is_listed_brought_back_from_and_emptied(table: RunTable, make: Make, tmp_path: Path) -> None:
    for name in ("one", "lesson/two", "three"):
        make(name)
    table.refresh()
    assert table.binned == []
    for name in ("one", "lesson/two", "three"):
        do(table, "delete", name=name)
    assert sorted(table.binned) == ["lesson/two", "one", "three"]
    again = RunTable(tmp_path / "runs", lambda folder: None)
    again.refresh()
    assert sorted(again.binned) == ["lesson/two", "one", "three"], "of an earlier session too"
    assert do(table, "restore", name="three") == "three is back."
    assert table.deleted == "lesson/two", "an undo brings back what is still there"
    assert do(table, "undo") == "lesson/two is back."
    for name in ("three", "", ".", "..", "../three", "../../elsewhere"):
        assert do(table, "restore", name=name).endswith("!"), name
    assert do(table, "empty", names=["one", "three"]) == "the bin holds other runs by now; look again!"
    assert do(table, "empty", names=["one"]) == "1 run is erased for good."
    assert (table.binned, table.deleted) == ([], "")
    assert not (tmp_path / "runs" / ".bin").exists()
    assert sorted(row["name"] for row in table.rows) == ["lesson/two", "three"]
    do(table, "delete", name="three")
    assert do(table, "empty", names=["three"]) == "1 run is erased for good."
    assert do(table, "undo") == "nothing was deleted here!"


def test_an_undo_that_cannot_be_is_said_once_and_stands_before_no_earlier_one(
    table: RunTable, make: Make, tmp_path: Path
) -> None:
    for name in ("one", "two", "three/a"):
        make(name)
    table.refresh()
    for name in ("one", "two", "three/a"):
        do(table, "delete", name=name)
    shutil.rmtree(tmp_path / "runs/three")
    make("three")
    assert "would be inside the run folder" in do(table, "undo")
    assert table.deleted == "two"
    shutil.rmtree(tmp_path / "runs/.bin/two")
    assert do(table, "undo") == "two is not in the bin any more!"
    assert do(table, "undo") == "one is back."
    assert table.binned == ["three/a"], "for its own list"


def test_what_is_no_run_stays_in_the_bin_and_is_said(table: RunTable, make: Make, tmp_path: Path) -> None:
    make("one")
    table.refresh()
    do(table, "delete", name="one")
    (tmp_path / "runs/.bin/precious").mkdir()
    kept = tmp_path / "runs" / ".bin"
    assert do(table, "empty", names=["one"]) == f"1 run is erased for good. What is no run is still in {kept}."
    assert (kept / "precious").exists()


def test_what_is_at_work_stays(table: RunTable, make: Make) -> None:
    on = make("on", "running")
    table.refresh()
    assert "is at work; stop it first!" in do(table, "delete", name="on")
    assert "is at work; stop it first!" in do(table, "change", name="on", to="off", note="", tags="")
    assert do(table, "change", name="on", to="on", note="a note", tags="").startswith("The note")
    assert contents.label(on.path)["note"] == "a note"


def test_a_page_names_only_runs_that_are_listed(
    table: RunTable, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = prepare(dataclasses.replace(make("one").spec(), out=str(tmp_path / "elsewhere")))
    (tmp_path / "runs" / "link").symlink_to(other.path)
    table.refresh()
    for served in ("", "kernel"):
        monkeypatch.setenv("VOILA_KERNEL_ID", served)
        for name in ("../elsewhere", str(other.path), "link", "", ".", ".bin/one", "~"):
            for what in ("watch", "delete"):
                assert do(table, what, name=name).endswith("!"), name
    assert other.exists()
    assert folder.list_runs(tmp_path / "runs")


def test_the_page_gets_names_as_data_and_a_closed_table_is_gone(make: Make, tmp_path: Path) -> None:
    before = set(_instances)
    table = RunTable(tmp_path / "runs", lambda folder: None)
    assert "innerHTML" not in str(table._esm)
    assert "insertAdjacentHTML" not in str(table._esm)
    form.close(table)
    assert set(_instances) == before
