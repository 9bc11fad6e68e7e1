"""The table of real teachers: what it shows is what was recorded, and what was not measured says so."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rows

from dfkd_lab import RunFolder, nets, plan, teachers
from dfkd_lab.runs.planning import settled
from tests.support import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The benchmark, writing below ``tmp_path``."""
    module, page = (importlib.import_module(name) for name in ("cifar", "results_page"))
    for each in (module, page):
        monkeypatch.setattr(each, "RESULTS", tmp_path / "cifar.json")
        monkeypatch.setattr(each, "TEACHERS", tmp_path / "teachers.json")
    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(rows, "FOLDER", tmp_path)
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    return module


def test_results_are_those_recorded(cifar: ModuleType, tmp_path: Path) -> None:
    for file in (ROOT / "benchmarks/results").glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    cifar.render()
    for name in ("RESULTS.md", "README.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["digits", "ladder"])
def test_every_run_has_its_provenance(name: str) -> None:
    recorded = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    shown = (ROOT / "RESULTS.md").read_text()
    for row, runs in recorded.items():
        assert f"| {row} | {len(runs)} |" in shown
        assert all({"versions", "commit", "device", "seed", "seconds"} <= run.keys() for run in runs)


def test_what_is_planned_and_not_measured_says_so(cifar: ModuleType, tmp_path: Path) -> None:
    cifar.render()
    lines = (tmp_path / "RESULTS.md").read_text().partition("## Speed")[0].splitlines()
    listed = [line for line in lines if line.startswith("| ") and "method" not in line and "---" not in line]
    assert sum("not measured" in line for line in listed if "net" not in line) == len(cifar.planned()) + 6
    assert any("89.29" in line for line in listed)


def test_a_benchmark_is_stopped_continued_and_never_repeated(
    cifar: ModuleType, tmp_path: Path, digits_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"dafl": {"rounds": 3, "cycles": 2, "batch": 16, "width": 8, "z_dim": 8}}
    monkeypatch.setitem(cifar.BUDGETS, "tiny", settings)
    monkeypatch.setitem(importlib.import_module("results_page").SAID, "tiny", "next to nothing")
    monkeypatch.setattr(cifar, "teacher_of", lambda net, *rest: net)
    wish: dict[str, Any] = {"pair": "digits:convnet_8", "data": "digits", "methods": "dafl", "budget": "tiny"}
    cifar.main(**wish, seeds=2, minutes=1e-6, device="cpu", out=tmp_path / "runs")
    folder = RunFolder(tmp_path / "runs" / "tiny-digits-convnet_8-digits-dafl-seed0")
    assert folder.status()["round"] == 1
    assert folder.seal()["sessions"][0]["sealed_rounds"] == 1
    assert not cifar.load()
    cifar.main(**wish, seeds=2, device="cpu", out=tmp_path / "runs")
    (row,) = cifar.load().values()
    assert [run["seed"] for run in row["runs"]] == [0, 1]
    assert all({"versions", "commit", "device", "synthesis_s", "settings"} <= run.keys() for run in row["runs"])
    line = next(line for line in (tmp_path / "RESULTS.md").read_text().splitlines() if " ± " in line and "dafl" in line)
    assert f"{100 * (row['runs'][0]['last'] + row['runs'][1]['last']) / 2:.2f}" in line
    monkeypatch.setattr(cifar, "run", lambda *rest: pytest.fail("it has run"))
    cifar.main(**wish, seeds=2, device="cpu", out=tmp_path / "elsewhere")
    assert len(json.loads((tmp_path / "cifar.json").read_text())) == 1


def test_small_budgets_are_settings_of_their_methods(cifar: ModuleType) -> None:
    for method, settings in cifar.BUDGETS["cpu"].items():
        spec = plan(settings, method=method, student="resnet8", data="cifar10", device="cpu")
        assert {name: {**spec.settings, "rounds": spec.rounds}[name] for name in settings} == settings


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"budget": "huge"}, "budget: .*'huge'"),
        ({"methods": "dafll"}, "known for .*not for 'dafll'"),
        ({"budget": "paper", "methods": "dafll"}, "did you mean 'dafl'"),
    ],
)
def test_a_misspelt_wish_is_a_sentence(
    cifar: ModuleType, wish: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cifar, "teacher_of", lambda *rest: "digits")
    with pytest.raises(SystemExit, match=sentence):
        cifar.main(**{"methods": "dafl", "data": "digits", "budget": "cpu", **wish}, out=tmp_path)


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


def test_kept_views_are_recorded_and_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits_cache: Path) -> None:
    page, module = (importlib.import_module(name) for name in ("speed_page", "cache_views"))
    monkeypatch.setattr(rows, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "cache_views.json")
    monkeypatch.setattr(module, "render", lambda: None)
    monkeypatch.setattr(module, "ROWS", [module.Row("digits", "fast", views) for views in (0, 2)])
    tiny = {"batch": 8, "width": 4, "z_dim": 4, "g_steps": 1, "s_steps": 4, "warm_up": 0, "rounds": 2}
    monkeypatch.setattr(module, "settled", lambda values: settled({**tiny, **values}))
    module.main(seeds=(0, 1), minutes=1e-6, out=tmp_path / "runs")
    assert not (tmp_path / "cache_views.json").exists()
    module.main(seeds=(0, 1), out=tmp_path / "runs")
    found = json.loads((tmp_path / "cache_views.json").read_text())
    assert {name: row["n"] for name, row in found.items()} == {"fast-0": 2, "fast-2": 2}
    assert found["fast-0"]["teacher_queries"]["mean"] > found["fast-2"]["teacher_queries"]["mean"]
    lines = page.section().splitlines()
    assert any(line.startswith("| digits | fast | none kept | 2 | ") for line in lines)
    assert any(line.startswith("| digits | fast | 2 | 2 | ") for line in lines)
    monkeypatch.setattr(module, "measure", lambda *_: pytest.fail("it was run again"))
    module.main(seeds=(0, 1), out=tmp_path / "elsewhere")


def test_the_budget_of_kept_views_on_cifar_is_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("cache_views")
    adopted = teachers.adopt("mine", nets.classifier("resnet20", 3, 10), (3, 32, 32), 10, "cifar10", tmp_path)
    monkeypatch.setattr(module, "teacher_of", lambda *_: adopted)
    monkeypatch.setattr("dfkd_lab.data.check", lambda name: None)
    (row, *_) = [each for each in module.ROWS if each.pair != "digits" and each.views == 2]
    spec = row.spec(1, tmp_path)
    assert (row.name, spec.cache_views, spec.seed) == ("resnet20-resnet8-fast-2", 2, 1)
    reads, images = (12 - 2) * spec.settings["s_steps"] * spec.settings["batch"], 12 * spec.settings["batch"]
    assert reads / images > 80
