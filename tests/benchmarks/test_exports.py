"""Students before and after int8: what was measured is recorded with its provenance, and shown."""

import json
from pathlib import Path

import exports
import exports_page
import pytest
from benchmark import Flags

from tests.benchmarks.conftest import InProcess
from tests.support import tiny

pytestmark = pytest.mark.slow


def test_both_files_are_measured_recorded_and_shown(
    results: Path, launcher: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits_cache: Path
) -> None:
    monkeypatch.setattr(exports, "TURNS", 2)
    monkeypatch.setattr(exports, "TURN_PASSES", 1)
    settings = exports.settings
    monkeypatch.setattr(exports, "settings", lambda *row: {**tiny("ssd_kd"), "rounds": 2, **settings(*row)})
    exports.main(Flags(only=("digits",), seeds=(0,), out=tmp_path / "runs"))
    ((name, row),) = json.loads((results / "export.json").read_text()).items()
    (run,) = row["runs"]
    assert name == "digits"
    assert run["accuracy"]["float"] == run["last"]
    assert run["right"]["float"] == round(450 * run["last"])
    assert run["bytes"]["int8"] < run["bytes"]["float"]
    assert {"versions", "packages", "commit", "device", "threads", "seed"} <= run.keys()
    lines = [line for line in exports_page.section().splitlines() if line.startswith("| digits |")]
    assert [line.split(" | ")[2:4] for line in lines] == [["float", "1"], ["int8", "1"]]
    assert f"{run['accuracy']['int8']:.4f}" in lines[1]
