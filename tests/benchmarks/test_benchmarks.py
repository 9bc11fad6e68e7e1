"""Benchmarks are sweeps: what finishes stands in its row, nothing recorded is lost, and the same command goes on."""

import json
import re
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import benchmark
import cache_views
import cifar
import demo
import digits
import ladder_cifar
import mnist
import pytest
import scenes
import speed
import torch
import two_commits
import versus
from torch.utils.flop_counter import FlopCounterMode

from dfkd_lab import RunFolder, bench, nets, teachers
from dfkd_lab.errors import Refusals, SpecError
from dfkd_lab.runs import list_runs
from dfkd_lab.runs.planning import settled
from tests.benchmarks.conftest import InProcess
from tests.support import ROOT, tiny

pytestmark = pytest.mark.slow
TINY: dict[str, dict[str, Any]] = {
    "dafl": {"method": "dafl", **tiny("dafl"), "rounds": 2},
    "ssd_kd with pre_dfkd's VAE": {"method": "ssd_kd", **tiny("ssd_kd"), "rounds": 2, "memory": "vae"},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, digits_cache: Path) -> None:
    """Two rows on digits, of two rounds."""
    monkeypatch.setattr(digits, "rows", lambda ladder: TINY)


def read(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text())
    return found


def test_a_stopped_benchmark_goes_on_and_every_run_stands_in_its_row(
    results: Path, launcher: InProcess, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = json.loads((ROOT / "benchmarks/results/digits.json").read_text())
    (results / "digits.json").write_text(json.dumps({**recorded, "dafl": recorded["dafl"][2:]}))
    flags = digits.Digits(out=tmp_path / "runs", only=("dafl",), seeds=(0, 1, 2))
    launcher.interrupts = 1
    with pytest.raises(SystemExit) as stopped:
        digits.main(flags)
    assert stopped.value.code == 130
    assert RunFolder(tmp_path / "runs" / "dafl-seed0").status()["round"] == 1
    assert len(read(results, "digits")["dafl"]) == 1
    digits.main(flags)
    assert launcher.started == ["dafl-seed0", "dafl-seed0", "dafl-seed1"]
    found = read(results, "digits")
    assert [run["seed"] for run in found["dafl"]] == [0, 1, 2]
    assert found["dafl"][0].keys() >= recorded["dafl"][0].keys()
    assert found["dafl"][2] == recorded["dafl"][2]
    plans = [RunFolder(tmp_path / "runs" / f"dafl-seed{seed}").spec() for seed in (0, 1)]
    assert [each.precision for each in plans] == ["fp32", "fp32"], "whichever processor it meets"
    assert {**found, "dafl": 0} == {**recorded, "dafl": 0}, "nothing else is touched"
    assert "| dafl | 3 | " in (tmp_path / "RESULTS.md").read_text()
    capsys.readouterr()
    digits.main(flags)
    assert "digits.json has all of it; --again replaces it" in capsys.readouterr().out
    assert len(launcher.started) == 3


def test_again_measures_what_is_recorded_in_its_place(
    results: Path, launcher: InProcess, small: None, tmp_path: Path
) -> None:
    recorded = json.loads((ROOT / "benchmarks/results/digits.json").read_text())
    (results / "digits.json").write_text(json.dumps(recorded))
    digits.main(digits.Digits(out=tmp_path / "runs", seeds=(1, 2, 1), again=True))
    assert launcher.started[:2] == ["dafl-seed1", "dafl-seed2"], "row by row, so that a row is of one commit"
    found = read(results, "digits")
    assert [*found] == [*TINY, *(row for row in recorded if row not in TINY)]
    for row in TINY:
        assert [run["rounds"] for run in found[row]] == [recorded[row][0]["rounds"], 2, 2]
    (results / "digits.json").unlink()
    digits.main(digits.Digits(out=tmp_path / "runs", seeds=(1, 2)))
    assert [*read(results, "digits")] == [*TINY], "what has finished is recorded, not run again"
    assert len(launcher.started) == 4


def test_a_benchmark_of_processes_is_interrupted_and_goes_on(
    results: Path, undrawn: None, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, interrupts = benchmark.Benchmark._keep_finished, iter([True])

    def watch(*given: Any) -> None:
        if next(interrupts, False):
            raise KeyboardInterrupt
        keep(*given)

    monkeypatch.setattr(benchmark.Benchmark, "_keep_finished", watch)
    flags = digits.Digits(out=tmp_path / "runs", only=("dafl",), seeds=(0,))
    with pytest.raises(SystemExit) as stopped:
        digits.main(flags)
    assert stopped.value.code == 130
    digits.main(flags)
    assert [run["seed"] for run in read(results, "digits")["dafl"]] == [0]


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        (digits, digits.Digits),
        (mnist, benchmark.Flags),
        (scenes, scenes.Scenes),
        (ladder_cifar, benchmark.Flags),
        (cache_views, cache_views.Views),
        (cifar, cifar.Cifar),
    ],
)
def test_a_misspelt_row_is_a_sentence(
    module: ModuleType,
    flags: type[benchmark.Flags],
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--only", "ssdkd"])
    with pytest.raises(SystemExit) as refused:
        benchmark.command(module.main, flags)
    assert refused.value.code == 2
    assert re.search("only: 'ssdkd' is not a (row of|method at) ", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("main", "data"),
    [
        (lambda out: mnist.main(benchmark.Flags(out=out)), "mnist"),
        (lambda out: ladder_cifar.main(benchmark.Flags(out=out)), "cifar10"),
        (lambda out: cifar.main(cifar.Cifar(out=out)), "cifar10"),
        (lambda out: scenes.main(scenes.Scenes(out=out, data="camvid")), "camvid"),
    ],
)
def test_data_that_are_missing_are_refused_before_anything_starts(
    main: Callable[[Path], None], data: str, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SpecError, match="set DFKD_DATA to the folder that"):
        main(tmp_path / "runs")
    assert not list_runs(tmp_path / "runs")


PLANNED = [row for row in cifar.planned() if row.budget != "paper"]
Rows = Callable[[Callable[..., str]], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("rows", "shape"),
    [
        (lambda ready: [mnist.settings(row, ready) for row in mnist.BUDGET], (1, 28, 28)),
        (lambda ready: [ladder_cifar.settings(row, ready) for row in ladder_cifar.ARMS], (3, 32, 32)),
        (lambda ready: [row.settings(ready) for row in cache_views.ROWS], (3, 32, 32)),
        (lambda ready: [row.settings(ready, "cpu") for row in PLANNED], (3, 32, 32)),
    ],
)
def test_the_settings_of_every_row_are_those_of_its_runs(
    rows: Rows, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted: dict[str, str] = {}

    def ready(net: str, data: str, **_: Any) -> str:
        if net not in adopted:
            model = nets.classifier(net, shape[0], 10)
            adopted[net] = str(teachers.adopt(f"my_{net}", model, shape, 10, data, tmp_path))
        return adopted[net]

    monkeypatch.setattr("dfkd_lab.data.check", lambda name: None)
    for settings in rows(ready):
        spec = settled({**settings, "seed": 0})
        given = {name: value for name, value in settings.items() if name != "teacher"}
        assert {name: spec.settings.get(name, getattr(spec, name, None)) for name in given} == given


def test_an_hour_has_fewer_rounds_of_a_pair_whose_steps_take_longer() -> None:
    def multiplications(pair: str) -> float:
        teacher, student = (nets.classifier(name, 3, 10) for name in pair.split(":"))
        with FlopCounterMode(display=False) as counter:
            teacher(torch.zeros(1, 3, 32, 32))
            student(torch.zeros(1, 3, 32, 32)).sum().backward()
        return counter.get_total_flops()

    hours: dict[str, list[dict[str, Any]]] = {}
    for row in PLANNED:
        if row.budget == "hour":
            hours.setdefault(row.pair, []).append(row.settings(lambda *_, **__: "", "cpu"))
    first, second = hours
    ratio = round(multiplications(second) / multiplications(first))
    assert ratio > 1
    for short, long in zip(hours[second], hours[first], strict=True):
        assert short["rounds"] == long["rounds"] // ratio
        assert short.get("images", 0) == long.get("images", 0) // ratio
        assert short["rounds"] // short["evaluate_every"] >= cifar.POINTS


def test_the_main_job_is_recorded_beside_other_seeds(
    results: Path, launcher: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_cache: Path
) -> None:
    monkeypatch.setattr(demo, "SETTINGS", {"method": "ssd_kd", **tiny("ssd_kd"), "rounds": 2})
    for seed in (1, 0):
        demo.main(demo.Flags(seeds=(seed,), out=tmp_path / "runs"))
    found = read(results, "demo")
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert found["n"] == 2
    assert found["student_last"]["mean"] == sum(run["last"] for run in found["runs"]) / 2


def test_what_cannot_be_is_refused_before_a_teacher_is_trained(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "teacher_of", lambda *_: pytest.fail("it was asked for"))
    for minutes in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SpecError, match=f"minutes = {minutes:g}; allowed: 0 or more"):
            mnist.main(benchmark.Flags(minutes=minutes, out=tmp_path))
    for main in (lambda out: mnist.main(benchmark.Flags(out=out)), lambda out: demo.main(demo.Flags(out=out))):
        with pytest.raises(SpecError, match=r"out = '\.' has no name; allowed: a folder of the benchmark's own"):
            main(Path())


def test_many_refusals_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise Refusals(["one", "two \x1b[2J"])

    with pytest.raises(SystemExit), benchmark.refused():
        refuse()
    assert capsys.readouterr().err == "one\ntwo \\x1b[2J\n"


@pytest.mark.parametrize(("measure", "sentence"), [
    (lambda: speed.main(device="nosuch"), "device = 'nosuch'"),
    (lambda: speed.main(repeats=0), "repeats = 0"),
    (lambda: versus.main(seeds=(-1,)), "seed = -1 is out of range"),
    (lambda: versus.main(pairs=("nosuch",)), "'nosuch' is not a pair"),
    (lambda: two_commits.main("HEAD", turns=0), "turns = 0; allowed: 2 or more"),
    (lambda: two_commits.main("nowhere"), "'nowhere' is not a commit"),
    (lambda: two_commits.main("HEAD", methods="nosuch"), "'nosuch' is not a method"),
])  # fmt: skip
def test_a_flag_that_cannot_be_is_a_sentence_before_anything_is_done(
    measure: Callable[[], None], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(two_commits, "checked_out", lambda *_: pytest.fail("a tree was made"))
    monkeypatch.setattr(versus, "process_of_its_own", lambda *_: pytest.fail("a process was started"))
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(SystemExit) as ended:
        measure()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_teacher_that_takes_longer_means_call_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "teacher_of", lambda *_: None)
    with pytest.raises(SystemExit) as early:
        benchmark.ready("resnet20", "cifar10", end=0.0, out=tmp_path)
    assert early.value.code == 75
