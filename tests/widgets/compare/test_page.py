"""The page about a sweep: every run in it, sorted and filtered in a browser, its settings weighed."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import RunError, RunFolder
from tests.browser.test_workbench import CHROMIUM, FLAGS
from tests.widgets.compare.test_compare import HOSTILE, make
from widgets import compare
from widgets.compare import page
from widgets.compare.groups import chosen
from widgets.compare.settings_figures import FEWEST, importance, importance_figure, parallel

__all__ = ["make"]
Make = Callable[..., RunFolder]


@pytest.fixture
def ladder(make: Make) -> list[RunFolder]:
    """Two methods, two widths and three seeds: the width decides, the method and chance hardly."""
    return [
        make(
            f"{method}-width{width}-seed{seed}",
            (0.1, width / 20 + add + seed / 1000),
            method=method,
            width=width,
            seed=seed,
        )
        for method, add in (("dafl", 0.0), ("dfad", 0.02))
        for width in (8, 16)
        for seed in (0, 1, 2)
    ]


def test_only_what_somebody_varied_is_weighed(ladder: list[RunFolder], make: Make) -> None:
    groups = compare.group(ladder)
    assert chosen(groups) == ["method", "width"], "balance, which DFAD has not, differs with the method"
    shares = importance(groups)
    assert list(shares) == ["width", "method"]
    assert shares["width"] > 0.95
    assert shares["method"] < 0.05
    assert importance(compare.group(ladder[:1])) == {}
    assert importance_figure([]).layout.annotations[0].text == FEWEST
    numbers = [make(f"g{n}", (0.1, n / 40), method="dafl", balance=float(n)) for n in range(20)]
    assert importance(compare.group(numbers))["balance"] > 0.9


def test_every_run_is_a_line_through_its_settings(ladder: list[RunFolder]) -> None:
    (trace,) = parallel(compare.group(ladder)).data
    assert [each.label for each in trace.dimensions] == ["method", "width", "seed", "result, last round"]
    assert list(trace.dimensions[0].ticktext) == ["dafl", "dfad"]
    assert list(trace.dimensions[1]["values"]) == [16] * 3 + [8] * 3 + [16] * 3 + [8] * 3, "by name"


def test_the_page_is_one_small_file_with_every_run(ladder: list[RunFolder], make: Make) -> None:
    hostile = make("hostile", (0.1, 0.2), method="dafl", width=32)
    manifest = json.loads((hostile.path / "manifest.json").read_text())
    manifest["teacher"]["class_names"] = [HOSTILE, "</script><script>alert(1)</script>"]
    (hostile.path / "manifest.json").write_text(json.dumps(manifest))
    make("damaged").path.joinpath("spec.yaml").write_text("[")
    root = hostile.path.parent
    path = compare.write_page(root)
    text = path.read_text()
    assert path.stat().st_size < 5e6
    assert all(f">{each.name}</td>" in text for each in [*ladder, hostile])
    assert "damaged: " in text
    assert "12 finished" not in text
    assert "13 finished" in text
    assert HOSTILE not in text
    assert "</script><script>alert" not in text
    rows = list(csv.DictReader((root / page.TABLE).read_text().splitlines()))
    assert {row["n"] for row in rows} == {"3", "1"}
    assert {row["setting.width"] for row in rows} == {"8", "16", "32"}
    assert compare.Run.read(ladder[0]).name == ladder[0].name, "what is written there is no run"


def test_a_run_without_a_round_and_an_empty_folder(make: Make, tmp_path: Path) -> None:
    root = make("early", (), state="running").path.parent
    assert "No round is finished yet." in compare.write_page(root).read_text()
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="there is no run folder in"):
        compare.write_page(tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_the_page_draws_sorts_and_filters(ladder: list[RunFolder], scheme: Any) -> None:
    from playwright.sync_api import sync_playwright

    path = compare.write_page(ladder[0].path.parent)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_context(color_scheme=scheme, offline=True).new_page()
        wrong: list[str] = []
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.goto(path.as_uri())
        shown.wait_for_selector("body[data-drawn=yes]", timeout=120_000)
        assert shown.locator("[data-figure] .main-svg").count() >= 4
        names = shown.locator("#runs tbody tr td:first-child")
        for times, best in ((1, "dafl-width8-seed0"), (2, "dfad-width16-seed2")):
            shown.locator("#runs th button", has_text=re.compile("^accuracy$")).click()
            assert names.first.inner_text() == best, times
        shown.fill("#filter", "width8 SEED1")
        assert shown.inner_text("#shown") == "2 of 12 runs"
        visible = [row.inner_text() for row in names.all() if row.is_visible()]
        assert visible == ["dfad-width8-seed1", "dafl-width8-seed1"]
        assert not wrong
        browser.close()
