"""Students before and after int8: what was measured is recorded with its provenance, and shown."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import rows

from dfkd_lab.runs.planning import settled
from tests.support import tiny

pytestmark = pytest.mark.slow


def test_both_files_are_measured_recorded_and_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits_cache: Path
) -> None:
    module, page = (importlib.import_module(name) for name in ("exports", "exports_page"))
    monkeypatch.setattr(rows, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "render", lambda: None)
    monkeypatch.setattr(module, "TURNS", 2)
    monkeypatch.setattr(module, "TURN_PASSES", 1)
    monkeypatch.setattr(module, "settled", lambda given: settled({**tiny("ssd_kd"), "rounds": 2, **given}))
    module.main(only=("digits",), seeds=(0,), out=tmp_path / "runs")
    ((name, row),) = json.loads((tmp_path / "export.json").read_text()).items()
    (run,) = row["runs"]
    assert name == "digits"
    assert run["accuracy"]["float"] == run["of_the_log"]
    assert run["right"]["float"] == round(450 * run["of_the_log"])
    assert run["bytes"]["int8"] < run["bytes"]["float"]
    assert {"versions", "packages", "commit", "device", "threads", "seed"} <= run.keys()
    lines: list[Any] = [line for line in page.section().splitlines() if line.startswith("| digits |")]
    assert [line.split(" | ")[2:4] for line in lines] == [["float", "1"], ["int8", "1"]]
    assert f"{run['accuracy']['int8']:.4f}" in lines[1]
