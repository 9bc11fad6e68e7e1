"""Grids are planned as a whole; their runs start, fail, are killed and go on, to the students of a sweep left alone."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dfkd_lab import RunFolder, RunSpec, SpecError, plan, sweeps
from dfkd_lab.__main__ import main
from dfkd_lab.cli import sweep as cli_sweep
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunError, list_runs
from dfkd_lab.runs.planning import resolve
from dfkd_lab.sweeps import launchers
from dfkd_lab.sweeps.launchers import LAUNCHERS, Local
from dfkd_lab.sweeps.launchers import local as local_launcher
from dfkd_lab.sweeps.running import MOST_FAILURES, Queue
from tests.support import ROOT

SIZES = {"cycles": 2, "batch": 16, "rounds": 6, "width": 8, "z_dim": 8}
TINY = {**SIZES, "device": "cpu", "data": "none", "checkpoint_s": 0}
TWO: dict[str, list[Any]] = {"method": ["dafl", "dfad"], "seed": [0]}
"""Few, as each is a process of its own."""


def ladder(root: Path, **axes: list[Any]) -> sweeps.Sweep:
    return sweeps.Sweep("ladder", axes or {"method": ["dafl", "dfad"], "seed": [0, 1]}, TINY, root)


def students(root: Path) -> dict[str, bytes]:
    return {each.name: (each.path / "student.safetensors").read_bytes() for each in list_runs(root)}


def file_of(tmp_path: Path, **parts: Any) -> Path:
    file = tmp_path / "ladder.yaml"
    grid = {"method": ["dafl", "dfad"], "seed": [0, 1]}
    file.write_text(yaml.safe_dump({"name": "ladder", "grid": grid, "with": TINY, **parts}))
    return file


class Scripted:
    """A launcher whose units end as they are told."""

    def __init__(self, codes: dict[str, list[int | None]], jobs: int = 1):
        self.codes, self.jobs, self.started = codes, jobs, list[str]()

    def start(self, folder: RunFolder, place: int) -> RunFolder:
        self.started.append(folder.name)
        return folder

    def poll(self, unit: RunFolder) -> int | None:
        return self.codes[unit.name].pop(0)

    def stop(self, unit: RunFolder) -> None:
        self.codes[unit.name] = [75]


def test_of_several_at_a_time_the_longest_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"dafl": 10.0, "dfad": 50.0}
    states: dict[str, str] = {}
    monkeypatch.setattr(RunFolder, "status", lambda self: {"state": states.get(self.name, "new"), "round": 0})
    monkeypatch.setattr(RunFolder, "result", lambda self: {"seconds": seconds[self.name.split("-")[0]]})
    folders = ladder(tmp_path, method=["dafl", "dfad"], seed=[0, 1, 2]).prepare()
    spec, reads = RunFolder.spec, Counter[str]()

    def counted(self: RunFolder) -> RunSpec:
        reads[self.name] += 1
        return spec(self)

    monkeypatch.setattr(RunFolder, "spec", counted)
    for jobs, expected in ((2, "dafl0 dafl1 dfad0 dfad1 dfad2 dafl2"), (1, "dafl0 dafl1 dafl2 dfad0 dfad1 dfad2")):
        states.clear()
        launcher = Scripted({each.name: [0] for each in folders}, jobs)
        queue = Queue(folders, launcher)
        while not queue.is_done:
            queue.advance()
            states.update((folder.name, "finished") for folder, _ in queue.running.values())
        assert " ".join(launcher.started).replace("-seed", "") == expected
        assert not reads or max(reads.values()) == 1, "each start looks at all that wait, and reads none again"
        reads.clear()


def test_every_cell_has_a_folder_that_is_named_by_where_it_stands(tmp_path: Path) -> None:
    pairs = [{"teacher": "digits", "student": "convnet_8"}, {"teacher": "digits", "student": "convnet_16"}]
    folders = ladder(tmp_path, method=["dafl"], pair=pairs, lr_scale=[0.5]).cells()
    names = [f"dafl-digits-{student}-lr_scale0.5" for student in ("convnet_8", "convnet_16")]
    assert [cell.folder for cell in folders] == names
    made = ladder(tmp_path).prepare()
    assert [each.name for each in made] == ["dafl-seed0", "dafl-seed1", "dfad-seed0", "dfad-seed1"]
    assert made[3].spec().method == "dfad"
    assert made[3].spec().seed == 1
    assert made[3].spec().rounds == 6
    more = ladder(tmp_path, method=["dafl", "dfad"], seed=[0, 1, 2]).prepare()
    assert len(more) == 6
    with pytest.raises(SpecError, match=r"4 of 4 runs .*\n  method = dafl, seed = 0: .* another spec \(rounds"):
        sweeps.Sweep("ladder", {"method": ["dafl", "dfad"], "seed": [0, 1]}, {**TINY, "rounds": 7}, tmp_path).prepare()


def test_numbers_of_a_file_are_those_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("grid: {seed: [010, 7, -1], gap: [0.5, 1.0e-05, 1e-3], out: [1:30, 2024-01-01, 0x10]}")
    grid = sweeps.from_file(file).grid
    assert grid == {"seed": [10, 7, -1], "gap": [0.5, 1e-5, "1e-3"], "out": ["1:30", "2024-01-01", "0x10"]}
    assert yaml.safe_load(yaml.safe_dump(grid)) == grid


def test_a_value_is_one_however_it_is_written(tmp_path: Path) -> None:
    spelled: dict[str, list[Any]] = {"balance": ["1e-3", 2, 0.5], "seed": ["010", 3.0], "compile": ["on", False]}
    cells = ladder(tmp_path, **spelled, method=["dafl"]).cells()
    assert cells[0].folder == "balance0.001-seed10-compileyes-dafl"
    assert cells[-1].folder == "balance0.5-seed3-compileno-dafl"
    assert [type(cells[-1].settings[name]) for name in ("balance", "seed")] == [float, int]
    either = [{"method": "ssd_kd", "priority": "on"}, {"method": "ssd_kd", "priority": True}]
    twice: dict[str, list[Any]] = {"balance": ["1e-3", 0.001], "seed": [0, "0"], "pair": either}
    for name, values in twice.items():
        with pytest.raises(SpecError, match=r"two cells are both .*; give one of them$"):
            ladder(tmp_path, **{name: values, **({} if name == "pair" else {"method": ["dafl"]})}).cells()


def test_on_and_off_may_be_names_and_values(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    arms = "arm: {on: {priority: on}, off: {priority: no}}"
    file.write_text(f"name: yes\ngrid: {{method: [ssd_kd], {arms}, deterministic: [false]}}\nwith: {{data: none}}")
    sweep = sweeps.from_file(file, tmp_path)
    assert sweep.name == "yes"
    made = {each.name: each.spec().settings["priority"] for each in sweep.prepare()}
    assert made == {"ssd_kd-on-deterministicFalse": True, "ssd_kd-off-deterministicFalse": False}
    assert sweeps.from_file(sweep.path / "sweep.yaml", tmp_path) == sweep


def test_settings_have_names_that_stand_in_folders_and_refusals(tmp_path: Path) -> None:
    arms = {"plain": {}, "a VAE, and more": {"memory": "vae", "balance": 2.0}}
    given = {**TINY, "method": "dafl"}
    named = sweeps.Sweep("named", {"arm": arms, "seed": [0, 1]}, given, tmp_path)
    first, *_, last = named.cells()
    assert first.folder == "plain-seed0"
    assert re.fullmatch(r"a_VAE_and_more_[0-9a-f]{6}-seed1", last.folder)
    assert last.words == "arm = a VAE, and more, seed = 1"
    made = {each.name: each.spec() for each in named.prepare()}
    assert (made[first.folder].memory, made[last.folder].memory) == ("", "vae")
    assert sweeps.from_file(tmp_path / "named" / "sweep.yaml", tmp_path) == named
    with pytest.raises(SpecError, match=r"1 of 2 runs .*\n  arm = b: .*did you mean 'rounds'"):
        sweeps.Sweep("other", {"arm": {"a": {}, "b": {"round": 1}}}, given, tmp_path).prepare()


def test_one_cell_that_cannot_be_run_keeps_all_from_starting_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        ladder(tmp_path, method=["dafl", "ssdkd", "cgdd"], seed=[0, 1], batch_=[1]).prepare()
    assert "'batch_'" in str(error.value)
    with pytest.raises(SpecError) as error:
        ladder(tmp_path, method=["dafl", "ssdkd", "dfad"], seed=[0, 1]).prepare()
    first, second = str(error.value).splitlines()
    assert first == "2 of 6 runs are refused, so nothing is started:"
    assert second.startswith("  method = ssdkd, seed = 0; method = ssdkd, seed = 1: ")
    assert "did you mean 'ssd_kd'?" in second
    assert not list_runs(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", "is no sweep"),
        ("a: [", "cannot be read (no YAML"),
        ("a: &b [1]\nname: *b", "it has an alias"),
        ("nme: a", "did you mean 'name'?"),
        ("name: ../up", "no name for a folder"),
        ("name: a", "has a grid of lists"),
        ("grid: {method: dafl}", "method = 'dafl' is no list of values"),
        ("grid: {method: []}", "method = [] is no list of values"),
        ("grid: {arm: {}}", "arm = {} is no list of values"),
        ("grid: {arm: {a: 3}}", "arm: 'a' = 3 is no name of settings"),
        ("grid: {arm: {1: {}}}", "arm: 1 = {} is no name of settings"),
        ("grid: {arm: {a: {seed: 1}}, seed: [0]}", "seed is given by two axes"),
        ("grid: {seed: [0, 0], method: [dafl]}", "two cells are both seed0-dafl (seed = 0, method = dafl; seed = 0, "),
        ("grid: {seed: [0], seed: [1]}", "'seed' is there twice"),
        ("grid: {pair: [{}, {seed: 1}], method: [dafl]}", "pair: {} gives no setting; give it a name"),
        ("grid: {pair: [{seed: 2, rounds: 3}, {rounds: 2, seed: 3}]}", "give them names, as in: {arm: {a: {...}"),
        ("name: 2026\ngrid: {method: [dafl]}", "and 2026 in quotes"),
        ("grid: {method: [dafl], pair: [{method: fast}]}", "method is given by two axes"),
        ("grid: {method: [dafl]}\nwith: {method: fast}", "method is on an axis of the grid too"),
        ("grid: {method: [dafl]}\nwith: {out: a}", "out is of one run"),
        ("grid: {seed: [0]}\nwith: {rouns: 3}", "1 of 1 runs are refused"),
        (f"grid: {{seed: {list(range(200))}, a: {list(range(200))}}}", "40,000 cells; allowed: up to 10,000"),
    ],
)
def test_what_is_no_sweep_is_refused(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(text)
    assert main(["sweep", str(tmp_path / "s.yaml"), "--root", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
    assert not list_runs(tmp_path)


def test_the_command_says_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        ([], "sweep takes a YAML file"),
        (["absent.yaml"], "there is no file absent.yaml"),
        ([str(file_of(tmp_path)), "--job", "2"], "did you mean 'jobs'?"),
        ([str(file_of(tmp_path)), "--on", "moon"], "allowed: local, slurm, ray"),
    ):
        assert main(["sweep", *words]) == 2
        assert sentence in capsys.readouterr().err


def test_numbers_that_differ_a_little_are_two_cells_and_what_python_calls_a_number_is_one(tmp_path: Path) -> None:
    close = ladder(tmp_path, balance=[0.12345671, 0.12345672, -1], method=["dafl"]).cells()
    assert [each.folder for each in close] == [f"balance{value}-dafl" for value in ("0.12345671", "0.12345672", "-1")]
    (found,) = sweeps.Sweep("ladder", {"seed": range(1)}, {"method": "dafl", "balance": np.float64(0.1)}, str(tmp_path)
                            ).cells()  # fmt: skip
    assert plan(found.settings).spec.settings["balance"] == 0.1
    assert type(plan(found.settings).spec.settings["balance"]) is float
    for axis in ([np.float64(0.1)], [np.int64(1)]):
        with pytest.raises(SpecError, match="allowed: text, numbers, yes or no"):
            ladder(tmp_path, balance=axis, method=["dafl"]).prepare()
    assert not list_runs(tmp_path)


def test_refusals_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = file_of(tmp_path, grid={"method": ["dafl", "dafll"], "seed": [0]})
    assert main(["sweep", str(file), "--root", str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("so nothing is started:")
    assert second.startswith("  method = dafll, seed = 0: ")


def test_a_run_that_was_removed_is_left_and_the_others_go_on(tmp_path: Path) -> None:
    folders = ladder(tmp_path).prepare()
    launcher = Local(1)
    launcher.environment = lambda place: {"DFKD_CACHE": "/dev/null"}  # type: ignore[method-assign]
    shutil.rmtree(folders[0].path)
    (folders[1].path / "spec.yaml").unlink()
    (folders[1].path / "log.txt").mkdir()
    queue = Queue(folders[:2], launcher)
    queue.advance()
    assert list(queue.left) == [folders[0].name, folders[1].name]
    assert queue.is_done


def test_only_the_code_that_was_named_is_executed_whatever_the_folder_says_later(tmp_path: Path) -> None:
    """A folder may be changed between the planning and the beginning of its run."""
    net = "from torch import nn\ndef Net(channels, classes):\n"
    body = "    return nn.Sequential(nn.Flatten(), nn.Linear(256, classes))\n"
    good, evil = tmp_path / "good.py", tmp_path / "evil.py"
    good.write_text(net + body)
    evil.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n" + net + body)
    sweep = sweeps.Sweep("own", {"seed": [0, 1]}, {**TINY, "method": "dafl", "student": f"{good}:Net"}, tmp_path)
    first, second = sweep.prepare()
    assert first.trusted_code.startswith("sha256:")
    spec = first.path / "spec.yaml"
    spec.write_text(spec.read_text().replace(str(good), str(evil)))
    with pytest.raises(RunError, match=r"evil.py .*; that is not the text that was named when it was planned"):
        resolve(first.spec(), first.trusted_code)
    assert not (tmp_path / "executed").exists()
    assert resolve(second.spec(), second.trusted_code).code
    python_file.TRUSTED.clear()
    with pytest.raises(RunError, match="names code that would run as you"):
        resolve(second.spec(), RunFolder(second.path).trusted_code)


def test_what_fails_is_tried_again_and_what_is_refused_is_not(tmp_path: Path) -> None:
    folders = ladder(tmp_path).prepare()
    names = [each.name for each in folders]
    codes = {names[0]: [1, -9, 1], names[1]: [2], names[2]: [130], names[3]: [75, 1, 75, 130]}
    launcher, said = Scripted(codes), list[str]()
    queue = Queue(folders, launcher, said.append)
    while not queue.is_done:
        queue.advance()
    assert launcher.started.count(names[0]) == MOST_FAILURES
    assert launcher.started.count(names[1]) == 1
    assert launcher.started.count(names[3]) == 4, "what is to be called again is no failure"
    assert set(queue.left) == set(names)
    assert any("ended by signal 9; it is tried again" in each for each in said)


def test_ending_starts_nothing_more(tmp_path: Path) -> None:
    folders = ladder(tmp_path).prepare()
    launcher = Scripted({each.name: [0] for each in folders})
    queue = Queue(folders, launcher)
    queue.advance()
    queue.end()
    queue.advance()
    assert queue.is_done
    assert launcher.started == [folders[0].name]


def test_no_run_is_told_to_end_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = ladder(tmp_path).prepare()
    launcher, told = Scripted({each.name: [None] * 9 for each in folders}, jobs=2), list[str]()
    monkeypatch.setattr(launcher, "stop", lambda unit: told.append(unit.name))
    queue = Queue(folders, launcher)
    queue.advance()
    queue.give_up(0, "hopeless")
    for _ in range(2):
        queue.end()
    assert told == [folders[0].name, folders[1].name], "a second SIGTERM would kill it"


def test_a_fault_of_whoever_watches_ends_the_runs_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher, told = Scripted({each.name: [None] * 9 for each in ladder(tmp_path).prepare()}), list[str]()
    monkeypatch.setattr(launcher, "stop", lambda unit: told.append(unit.name))
    monkeypatch.setitem(LAUNCHERS, "scripted", lambda jobs: launcher)
    with pytest.raises(ZeroDivisionError):
        sweeps.run(ladder(tmp_path), "scripted", watch=lambda queue: 1 // 0)
    assert told == launcher.started


def test_what_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    folders = ladder(tmp_path).prepare()
    held = folders[0].path / "status.json"
    held.write_text('{"state": "running", "round": 1, "rounds": 6, "message": "", "pid": 1, "host": "elsewhere"}')
    launcher = Scripted({each.name: [130] for each in folders}, jobs=8)
    queue = Queue(folders, launcher)
    queue.advance()
    assert folders[0].name not in launcher.started
    assert len(launcher.started) == 3
    os.utime(held, (0, 0))  # nothing was heard of it for long
    queue.advance()
    assert launcher.started[-1] == folders[0].name


def test_cores_and_devices_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_launcher, "usable_cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    local = launchers.Local()
    assert local.jobs == 2
    assert [local.environment(place) for place in range(3)] == [
        {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": device} for device in ("2", "GPU-5", "2")
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launchers.Local(3).environment(0) == {"OMP_NUM_THREADS": "2"}
    assert launchers.Local().jobs == 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The students of a sweep that nobody disturbed."""
    root = tmp_path_factory.mktemp("undisturbed")
    queue = sweeps.run(ladder(root, **TWO), jobs=2)
    assert queue.finished == {each.name for each in queue.folders}
    return students(root)


@pytest.mark.slow
def test_killed_workers_and_a_killed_launcher_change_no_student(
    tmp_path: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", str(file_of(tmp_path, grid=TWO)), "--jobs", "2", "--root", str(tmp_path / "runs")]
    first = subprocess.Popen([sys.executable, "-m", "dfkd_lab", *words], cwd=ROOT, stderr=subprocess.DEVNULL)
    worker = until(lambda: at_work(tmp_path / "runs"))
    os.kill(worker.status()["pid"], signal.SIGKILL)
    first.kill()
    first.wait()
    assert main(words) == 0
    said = capsys.readouterr()
    assert students(tmp_path / "runs") == undisturbed
    assert said.out.count("finished") == 2
    assert (tmp_path / "runs" / "ladder" / "sweep.html").is_file()
    assert main(words) == 0, "the same command again has nothing to do"
    assert "begins" not in capsys.readouterr().err


@pytest.mark.long
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    words = ["sweep", str(file_of(tmp_path, grid=TWO)), "--jobs", "2", "--root", str(tmp_path / "runs")]
    command = subprocess.Popen([sys.executable, "-m", "dfkd_lab", *words], cwd=ROOT, stdout=-3, stderr=-3)
    until(lambda: at_work(tmp_path / "runs"))
    command.terminate()
    assert command.wait(120) == 75
    assert not [each for each in list_runs(tmp_path / "runs") if each.status()["state"] == "running"]
    assert main(words) == 0
    assert students(tmp_path / "runs") == undisturbed


def at_work(root: Path) -> RunFolder | None:
    running = (each for each in list_runs(root) if each.status()["state"] == "running" and each.status()["round"] > 0)
    return next(running, None)


def until(look: Callable[[], RunFolder | None]) -> RunFolder:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("not within 240 s")


def test_a_file_that_is_damaged_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ladder" / "dafl-seed0").mkdir(parents=True)
    (tmp_path / "ladder" / "dafl-seed0" / "spec.yaml").write_text("[")
    with pytest.raises((SpecError, RunError), match=r"method = dafl, seed = 0: .*spec.yaml is damaged"):
        ladder(tmp_path).prepare()


def test_the_first_interrupt_ends_it_and_the_second_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = Scripted(
        {f"{method}-seed{seed}": [None, None, None, 75] for method in ("dafl", "dfad") for seed in (0, 1)}
    )
    monkeypatch.setitem(LAUNCHERS, "scripted", lambda jobs: launcher)
    said, looks = list[str](), list[int]()

    def interrupt(queue: Queue) -> None:
        looks.append(len(queue.running))
        if len(looks) == 1 or (len(looks) == 2 and twice):
            raise KeyboardInterrupt

    twice = False
    queue = sweeps.run(ladder(tmp_path), "scripted", say=said.append, watch=interrupt)
    assert queue.interrupted
    assert len(launcher.started) == 1
    assert any("interrupt again" in each for each in said)
    twice = True
    monkeypatch.setattr(launcher, "stop", lambda unit: None)
    launcher.codes["dafl-seed0"] = [None] * 9
    looks.clear()
    with pytest.raises(KeyboardInterrupt):
        sweeps.run(ladder(tmp_path), "scripted", watch=interrupt)


def test_a_page_is_begun_when_runs_have_finished_and_the_last_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[Path] = []

    def drawing(path: Path, to: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        begun.append(path)
        code = "import sys; print('no room'); sys.exit(2)" if len(begun) > 2 else ""
        return subprocess.Popen([sys.executable, "-c", code], stdout=to, stderr=to)

    monkeypatch.setattr(cli_sweep, "drawing", drawing)
    page, queue = cli_sweep.Page(tmp_path), Queue([], Scripted({}))
    monkeypatch.setattr(cli_sweep, "PAGE_PERIOD_S", -1)
    page.keep(queue)
    queue.finished = {"a"}
    page.keep(queue)
    page.keep(queue)
    assert len(begun) == 1
    monkeypatch.setattr(cli_sweep, "PAGE_PERIOD_S", 1e9)
    queue.finished = {"a", "b"}
    page.keep(queue)
    assert len(begun) == 1
    page.finish()
    assert len(begun) == 2
    page.finish()
    said = capsys.readouterr().err.splitlines()
    assert said == [f"page {tmp_path / 'sweep.html'}", "no page: no room"]
