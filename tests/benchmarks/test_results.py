"""The table of real teachers: what it shows is what was recorded, and what was not measured says so."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import benchmark
import cache_views
import cifar
import pytest
import results_page
import rows
from rows import recorded

from dfkd_lab import METHODS, SpecError, nets, teachers
from dfkd_lab.runs.planning import settled
from tests.benchmarks.conftest import InProcess
from tests.support import ROOT

pytestmark = pytest.mark.slow


def test_results_are_those_recorded(results: Path, tmp_path: Path) -> None:
    for file in (ROOT / "benchmarks/results").glob("*.json"):
        (results / file.name).write_text(file.read_text())
    results_page.render()
    for name in ("RESULTS.md", "README.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["digits", "ladder"])
def test_every_run_has_its_provenance(name: str) -> None:
    recorded = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    shown = (ROOT / "RESULTS.md").read_text()
    for row, runs in recorded.items():
        assert f"| {row} | {len(runs)} |" in shown
        assert all({"versions", "commit", "device", "seed", "seconds"} <= run.keys() for run in runs)


def test_what_is_planned_and_not_measured_says_so(results: Path, tmp_path: Path) -> None:
    results_page.render()
    lines = (tmp_path / "RESULTS.md").read_text().partition("## Speed")[0].splitlines()
    listed = [line for line in lines if line.startswith("| ") and "method" not in line and "---" not in line]
    assert sum("not measured" in line for line in listed if "net" not in line) == len(cifar.planned()) + 8
    assert any("88.90" in line for line in listed)


def test_the_published_figures_of_fastdfkd_are_of_as_many_steps_as_it_takes_here() -> None:
    published = {pair: row for (method, pair, _), row in results_page.PUBLISHED.items() if method == "fast"}
    assert {pair: figure for pair, (figure, _) in published.items()} == {
        "wrn40_2:wrn16_1": 88.90,
        "resnet34:resnet18": 93.63,
    }
    assert all(f"Fast-{METHODS['fast']().g_steps}," in source for _, source in published.values())


def test_real_teachers_have_rows_with_settings_and_curves(
    results: Path, launcher: InProcess, tmp_path: Path, digits_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"dafl": {"rounds": 3, "cycles": 2, "batch": 16, "width": 8, "z_dim": 8}}
    monkeypatch.setitem(cifar.BUDGETS, "tiny", settings)
    monkeypatch.setitem(results_page.SAID, "tiny", "next to nothing")
    monkeypatch.setattr(benchmark, "teacher_of", lambda net, *rest: net)
    wish: dict[str, Any] = {"pair": "digits:convnet_8", "data": "digits", "budget": "tiny", "device": "cpu"}
    flags = cifar.Cifar(**wish, only=("dafl",), seeds=(0, 1), out=tmp_path / "runs")
    cifar.main(flags)
    assert launcher.started == [f"tiny-digits-convnet_8-digits-dafl-seed{seed}" for seed in (0, 1)]
    (row,) = recorded("cifar").values()
    assert [run["seed"] for run in row["runs"]] == [0, 1]
    assert all({"versions", "commit", "device", "synthesis_s", "settings"} <= run.keys() for run in row["runs"])
    line = next(line for line in (tmp_path / "RESULTS.md").read_text().splitlines() if " ± " in line and "dafl" in line)
    assert f"{100 * (row['runs'][0]['last'] + row['runs'][1]['last']) / 2:.2f}" in line
    cifar.main(replace(flags, out=tmp_path / "elsewhere"))
    assert len(launcher.started) == 2


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({}, "nothing is planned at budget cpu; name a --pair"),
        ({"pair": "digits:convnet_8"}, "known: ssd_kd, fast, dafl"),
        ({"pair": "digits:convnet_8", "budget": "paper"}, "did you mean 'dafl'"),
    ],
)
def test_rows_that_are_none_are_a_sentence(wish: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        cifar.rows(cifar.Cifar(**wish, only=("dafll" if "budget" in wish else "kd",), data="digits"))


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits_cache: Path) -> ModuleType:
    """The benchmark of speed on next to nothing, writing below ``tmp_path``."""
    monkeypatch.setattr(rows, "FOLDER", tmp_path)
    module = importlib.import_module("speed")
    monkeypatch.setattr(module, "SPEED", tmp_path / "speed.json")
    monkeypatch.setattr(module, "PAIRS", {"cpu": "digits"})
    monkeypatch.setattr(module, "render", lambda: None)
    tiny = {"batch": 8, "width": 4, "z_dim": 4, "g_steps": 1, "s_steps": 1, "warm_up": 0}
    monkeypatch.setattr(module, "DIGITS", tiny)
    rest: dict[str, Any] = {"precisions": [], "memories": []}
    monkeypatch.setattr(module.bench, "measure", lambda request: {"loops": [LOOP], **rest})
    plan_ = module.plan
    monkeypatch.setattr(module, "plan", lambda **wish: plan_({**tiny, "rounds": 2}, **wish))
    return module


LOOP = {"pair": "digits", "method": "ssd_kd", "precision": "bf16", "n": 3, "overhead": 1.0625,
        "overhead_range": [1.0, 1.25], "student_images_per_s": 9, "loop_s": 2.0, "bare_s": 1.9}  # fmt: skip


def test_speed_is_recorded_once_a_commit_and_shown(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    page = importlib.import_module("speed_page")
    speed.main(repeats=1, device="cpu")
    (row,) = speed.load().values()
    assert row["length"]["rounds"] == [4, 40]
    assert len(row["length"]["short_s"]) == len(row["length"]["long_s"]) == 10
    assert 0 < row["session"]["share"] < 1
    assert all({"commit", "versions", "device", "threads"} <= part.keys() for part in row.values())
    text = page.section()
    assert "| digits | ssd_kd | bf16 | 3 | 1.06 | 1.00–1.25 |" in text
    assert f"took {row['length']['ratio']:.2f} times as long" in text
    monkeypatch.setattr(speed, "length", lambda where: pytest.fail("it was measured"))
    speed.main(repeats=1, device="cpu")


def test_kept_views_are_recorded_and_shown(
    results: Path, launcher: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits_cache: Path
) -> None:
    monkeypatch.setattr(cache_views, "ROWS", [cache_views.Row("digits", "fast", views) for views in (0, 2)])
    tiny = {"batch": 8, "width": 4, "z_dim": 4, "g_steps": 1, "s_steps": 4, "warm_up": 0, "rounds": 2}
    settings = cache_views.Row.settings
    monkeypatch.setattr(cache_views.Row, "settings", lambda row, ready: {**settings(row, ready), **tiny})
    cache_views.main(cache_views.Views(seeds=(0, 1), out=tmp_path / "runs"))
    found = recorded("cache_views")
    assert {name: row["n"] for name, row in found.items()} == {"fast-0": 2, "fast-2": 2}
    assert found["fast-0"]["teacher_queries"]["mean"] > found["fast-2"]["teacher_queries"]["mean"]
    lines = (tmp_path / "RESULTS.md").read_text().splitlines()
    assert any(line.startswith("| digits | fast | none kept | 2 | ") for line in lines)
    assert any(line.startswith("| digits | fast | 2 | 2 | ") for line in lines)


def test_an_image_is_read_eighty_times_where_views_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopted = teachers.adopt("mine", nets.classifier("resnet20", 3, 10), (3, 32, 32), 10, "cifar10", tmp_path)
    monkeypatch.setattr("dfkd_lab.data.check", lambda name: None)
    (row, *_) = [each for each in cache_views.ROWS if each.pair != "digits" and each.views == 2]
    spec = settled({**row.settings(lambda *_: str(adopted)), "seed": 1})
    assert (row.name, spec.cache_views, spec.seed) == ("resnet20-resnet8-fast-2", 2, 1)
    reads, images = (12 - 2) * spec.settings["s_steps"] * spec.settings["batch"], 12 * spec.settings["batch"]
    assert reads / images > 80
