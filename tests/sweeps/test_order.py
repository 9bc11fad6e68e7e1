"""A queue is a file that people change while a process works it off: what runs, waits or ends is what it says now."""

import json
from pathlib import Path

import pytest
import yaml

from dfkd_lab import RunFolder, SpecError, sweeps
from dfkd_lab.__main__ import main
from dfkd_lab.errors import RunError
from dfkd_lab.sweeps import following
from dfkd_lab.sweeps.following import Following

TINY = {"cycles": 1, "batch": 8, "rounds": 1, "width": 8, "z_dim": 8, "device": "cpu", "data": "none"}


class Scripted:
    """A launcher whose units end when the test says so."""

    def __init__(self, jobs: int = 1):
        self.jobs = jobs
        Scripted.newest = self

    newest: "Scripted"
    started: list[str] = []  # noqa: RUF012
    codes: dict[Path, int] = {}  # noqa: RUF012
    stopped: list[str] = []  # noqa: RUF012

    def start(self, folder: RunFolder, place: int) -> RunFolder:
        self.started.append(folder.name)
        return folder

    def poll(self, unit: RunFolder) -> int | None:
        return self.codes.pop(unit.path, None)

    def stop(self, unit: RunFolder) -> None:
        self.stopped.append(unit.name)
        self.codes[unit.path] = 75


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    monkeypatch.setattr(following, "Local", Scripted)
    Scripted.started, Scripted.codes, Scripted.stopped = [], {}, []
    return Scripted


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sweeps.Order:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    return sweeps.Order(tmp_path / "runs")


def put(order: sweeps.Order, name: str, seeds: list[int]) -> list[RunFolder]:
    folders = sweeps.Sweep(name, {"seed": seeds}, {**TINY, "method": "dafl"}, order.root).prepare()
    order.add(folders)
    return folders


def say(folder: RunFolder, state: str) -> None:
    (folder.path / "status.json").write_text(json.dumps({"state": state, "round": 1, "rounds": 1}))


def ends(folder: RunFolder, code: int = 0, state: str = "finished") -> None:
    say(folder, state)
    Scripted.codes[folder.path] = code


def test_the_row_is_what_was_added_moved_and_taken_out(order: sweeps.Order) -> None:
    assert order.read().runs == []
    first = put(order, "a", [0, 1, 2])
    put(order, "b", [0])
    put(order, "a", [0, 1, 2])
    assert order.read().runs == ["a/seed0", "a/seed1", "a/seed2", "b/seed0"], "what waits is not added twice"
    order.move("b/seed0", -2)
    order.move("a/seed0", 99)
    assert order.read().runs == ["b/seed0", "a/seed1", "a/seed2", "a/seed0"]
    order.cancel("a/seed1")
    assert not first[1].path.exists(), "a run that never began leaves nothing"
    say(first[2], "finished")
    order.move("a/seed0", -1)
    assert order.read().runs[0] == "a/seed0", "what is finished counts as no place"
    put(order, "c", [0])
    assert order.read().runs == ["a/seed0", "b/seed0", "c/seed0"], "what is finished goes with the next addition"
    with pytest.raises(SpecError, match="did you mean 'b/seed0'"):
        order.cancel("b/seed")
    with pytest.raises(SpecError, match=r"jobs = 0; allowed: 1\.\.1024"):
        order.set_jobs(0)


def test_what_was_computed_is_kept_when_a_run_is_taken_out(order: sweeps.Order) -> None:
    (folder,) = put(order, "a", [0])
    (folder.path / "log.txt").write_text("begun")
    order.cancel("a/seed0")
    assert folder.exists()
    (folder,) = put(order, "a", [0])
    say(folder, "stopped")
    order.cancel("a/seed0")
    assert folder.exists()


def test_a_damaged_file_is_refused_in_a_sentence(order: sweeps.Order, capsys: pytest.CaptureFixture[str]) -> None:
    put(order, "a", [0])
    for text in ("{", "[]", '{"runs": [1], "root": "", "jobs": 1, "held": false}', '{"runs": []}'):
        order.file.write_text(text)
        with pytest.raises(RunError, match="remove it"):
            order.read()
        assert main(["queue", "--root", str(order.root)]) == 2
        assert "remove it" in capsys.readouterr().err


def test_the_first_waiting_run_is_computed_whatever_the_row_was_before(
    order: sweeps.Order, scripted: type[Scripted]
) -> None:
    folders = put(order, "a", [0, 1, 2])
    queue = Following(order)
    queue.advance()
    assert scripted.started == ["seed0"]
    order.move("a/seed2", -1)
    ends(folders[0])
    queue.advance()
    assert scripted.started == ["seed0", "seed2"]
    put(order, "b", [7])
    order.move("b/seed7", -9)
    ends(folders[2])
    queue.advance()
    assert scripted.started[-1] == "seed7"
    order.set_jobs(2)
    queue.advance()
    assert scripted.started[-1] == "seed1", "a second place"
    assert scripted.newest.jobs == 2
    ends(folders[1])
    ends(RunFolder(order.root / "b" / "seed7"))
    queue.advance()
    assert queue.is_done


def test_a_held_row_begins_nothing_and_a_run_that_is_taken_out_ends(
    order: sweeps.Order, scripted: type[Scripted]
) -> None:
    put(order, "a", [0, 1])
    queue = Following(order)
    queue.advance()
    order.hold(True)
    order.cancel("a/seed0")
    for _ in range(3):
        queue.advance()
    assert scripted.stopped == ["seed0"], "told once"
    assert scripted.started == ["seed0"]
    assert not queue.left
    assert queue.is_done, "nothing runs, and nothing is begun"


def test_what_failed_is_tried_again_once_it_is_put_there_anew(order: sweeps.Order, scripted: type[Scripted]) -> None:
    first, _ = put(order, "a", [0, 1])
    order.hold(True)
    queue = Following(order)
    order.hold(False)
    queue.advance()
    ends(first, 2, "failed")
    queue.advance()
    assert list(queue.left) == ["a/seed0"]
    order.cancel("a/seed0")
    queue.advance()
    put(order, "a", [0])
    order.set_jobs(2)
    queue.advance()
    assert scripted.started == ["seed0", "seed1", "seed0"]


def test_one_process_works_a_row_off_and_leaves_it_in_the_moment_nothing_is_left(
    order: sweeps.Order, scripted: type[Scripted], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = put(order, "a", [0])
    assert not order.is_worked_off()
    assert order.take_work()
    other = sweeps.Order(order.root)
    assert other.is_worked_off()
    assert main(["queue", "--root", str(order.root)]) == 2
    assert "another process works off the queue" in capsys.readouterr().err
    queue = Following(order)
    queue.advance()
    assert queue.running
    ends(folder)
    queue.advance()
    assert queue.is_done
    assert not other.is_worked_off()


def test_the_command_computes_what_is_there(order: sweeps.Order, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queue", "--root", str(order.root)]) == 0
    assert "nothing is in the queue" in capsys.readouterr().out
    assert main(["queue", "--rot", "x"]) == 2
    assert "did you mean 'root'?" in capsys.readouterr().err
    (folder,) = put(order, "a", [3])
    child = order.have_worked_off()
    assert child is not None
    assert child.wait() == 0
    assert folder.status()["state"] == "finished"
    printed = order.log.read_text()
    assert "a/seed3: finished, 1 of 1" in printed
    assert yaml.safe_load((folder.path / "spec.yaml").read_text())["seed"] == 3


def test_a_folder_from_somebody_else_cannot_queue_itself(
    order: sweeps.Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row says that Python files may be executed, so it is the user's own, not the folder's."""
    put(order, "a", [0])
    assert not [file for file in order.root.rglob("*") if "a/seed0" in file.name or file.suffix == ".json"]
    assert order.file.is_relative_to(tmp_path / "cache")
