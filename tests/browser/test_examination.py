"""A finished run examined in a real JupyterLab: its confusion matrices, a sample enlarged, and its buffer browsed."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_workbench import CHROMIUM, CONTRAST, DARK, IN_VIEW, SIDE_SCROLL, Workbench, context, page, until
from tests.support import finished
from widgets import confusion

__all__ = ["context", "page"]  # fixtures
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
TEXTS = ".dfkd-thumb small, .dfkd-samples small, .dfkd-enlarged th, .dfkd-enlarged td, .dfkd-enlarged dd, .dfkd-step"
FOCUSED = "() => document.activeElement.textContent"
LOSSES = """() => [...document.querySelectorAll('.dfkd-thumb')]
    .map(each => Number(each.title.match(/last loss ([0-9.]+)/)[1]))"""


def test_examine_a_run_click_a_sample_and_browse_its_buffer(context: str, page: Page, tmp_path: Path) -> None:
    artefacts = Path(os.environ.get("DFKD_ARTEFACTS") or tmp_path / "artefacts")
    finished(tmp_path / "runs" / "kept", capacity=120, batch=60)
    bench = Workbench(page, context)
    page.get_by_role("table", name="runs").last.get_by_role("button", name="kept", exact=True).click()
    bench.button("classes").click()
    expect(page.get_by_text(confusion.NOT_EXAMINED)).to_be_visible()
    bench.button("Examine this run").press("Space")
    expect(page.locator(".js-plotly-plot .heatmaplayer .hm")).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="Examined after round 2 of 2")).to_be_visible()
    expect(page.locator(".dfkd-thumb")).to_have_count(48)
    bench.screenshot("examined", artefacts)
    assert page.evaluate(IN_VIEW, ".js-plotly-plot .heatmaplayer")
    click_a_sample(page)
    bench.screenshot("sample", artefacts)
    browse(bench)
    bench.screenshot("buffer", artefacts)
    assert page.evaluate(SIDE_SCROLL) == []
    assert min(page.evaluate(CONTRAST, TEXTS)) >= 4.5
    page.evaluate(DARK)
    page.wait_for_timeout(500)
    bench.screenshot("buffer-dark", artefacts)
    assert min(page.evaluate(CONTRAST, TEXTS)) >= 4.5
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_role("heading", name="Results")).to_be_visible()
    assert page.evaluate(SIDE_SCROLL) == [], "the table scrolls by itself"
    assert not bench.errors


def click_a_sample(page: Page) -> None:
    """By the mouse, by the keyboard, through them, and back to where one was."""
    bars = page.get_by_role("table", name="probabilities")
    samples = page.locator(".dfkd-samples button")
    samples.first.click()
    expect(bars).to_be_visible()
    expect(page.locator(".dfkd-enlarged img")).to_have_attribute("alt", re.compile("the teacher sees"))
    page.keyboard.press("Escape")
    expect(samples.first).to_be_focused()
    page.keyboard.press("Enter")
    expect(bars).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("status").filter(has_text=re.compile("^2 of"))).to_be_visible()
    assert page.evaluate(FOCUSED) == "Next"


def browse(bench: Workbench) -> None:
    """Sort, filter, enlarge, and step with Tab and Enter alone."""
    page = bench.page
    bench.button("buffer").click()
    page.get_by_label("sort by").select_option("loss")
    expect(page.get_by_text("images 1 to 48 of 120; loss: the student's last on it")).to_be_visible()
    smallest = page.evaluate(LOSSES)
    assert smallest == sorted(smallest)
    page.get_by_label("order").select_option("largest first")
    until(lambda: page.evaluate(LOSSES)[0] > smallest[0], "the largest first")
    losses = page.evaluate(LOSSES)
    assert losses == sorted(losses, reverse=True)
    bench.button("Next page").press("Enter")
    expect(page.get_by_text("images 49 to 96 of 120")).to_be_visible()
    assert page.evaluate(LOSSES)[0] <= losses[-1]
    assert page.evaluate(FOCUSED) == "Next page"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("49 of 120", exact=True)).to_be_visible()
    assert page.evaluate(FOCUSED) == "Back to the images"
    page.keyboard.press("Enter")
    expect(page.locator(".dfkd-thumb").first).to_be_focused()
    page.get_by_label("only where they disagree").check()
    expect(page.get_by_text(re.compile("images 1 to .* of (?!120)"))).to_be_visible()
    assert page.locator(".dfkd-thumb.other").count() == page.locator(".dfkd-thumb").count() > 0
