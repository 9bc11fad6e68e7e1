"""The form in a real JupyterLab: every field says what it is for, and nothing of it scrolls sideways."""

import os
import re
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect

from dfkd_lab import METHODS, RunSpec, nets
from dfkd_lab.spec import settings_of
from tests.browser.test_workbench import BUFFER, CHROMIUM, SIDE_SCROLL, Workbench, context, page

__all__ = ["context", "page"]  # fixtures
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
UNEXPLAINED = """() => ['text', 'dropdown', 'checkbox', 'slider']
    .flatMap(each => [...document.querySelectorAll(`.widget-${each}`)])
    .filter(each => each.offsetParent && each.closest('.widget-tab'))
    .flatMap(each => [...each.querySelectorAll('label, input, select, [role=slider]')])
    .filter(each => each.offsetParent && !each.title && each.textContent !== 'find ')
    .map(each => each.outerHTML)"""
FOLDS = ("Settings of", "Slots of", "Device, normalization")


def test_every_field_has_its_help_and_nothing_scrolls_sideways(context: str, page: Page, tmp_path: Path) -> None:
    artefacts = Path(os.environ.get("DFKD_ARTEFACTS") or tmp_path / "artefacts")
    bench = Workbench(page, context)
    for fold in FOLDS:
        page.get_by_text(re.compile(f"^{fold}")).click()
    see_the_help(bench)
    folder = tmp_path / "a-folder-with-a-name-that-is-far-too-long-to-be-seen-whole-in-any-card-of-a-teacher"
    folder.mkdir()
    torch.save(nets.classifier("resnet20", 3, 10).state_dict(), folder / "bare.pth")
    page.get_by_label("normalization", exact=True).select_option("cifar10")
    bench.fill("evaluated on", "none")
    bench.fill("teacher", str(folder / "bare.pth"))
    expect(page.locator("b", has_text=f"Teacher {folder}")).to_be_visible()
    for width in (1280, 620):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(500)  # boxes take their new width
        bench.screenshot(f"form-{width}", artefacts)
        assert page.evaluate(SIDE_SCROLL) == []
    assert not bench.errors


def see_the_help(bench: Workbench) -> None:
    """Of a text, a list, a text with suggestions and a box to tick, where the pointer rests and for the keyboard."""
    run, method = (settings_of(each) for each in (RunSpec, METHODS["ssd_kd"]))
    seen = {
        "checkpoint_s": run["checkpoint_s"].metadata["help"],
        "deterministic": run["deterministic"].metadata["help"],
        "evict": method["evict"].metadata["help"],
        "teacher": run["teacher"].metadata["help"],
        BUFFER: f"capacity: {method['capacity'].metadata['help']}",
    }
    for label, wanted in seen.items():
        field = bench.page.get_by_label(label, exact=True)
        expect(field).to_have_attribute("title", wanted)
        expect(field).to_have_accessible_description(wanted)
        name = bench.page.locator("label:visible", has_text=label).first
        expect(name).to_have_attribute("title", wanted)
    assert bench.page.evaluate(UNEXPLAINED) == []
    before = bench.page.get_by_label("g_lr", exact=True).input_value()
    bench.fill("g_lr", "0.5")
    wanted = f"{method['g_lr'].metadata['help']}; changed: the preset has {before}"
    expect(bench.page.get_by_label("g_lr", exact=True)).to_have_attribute("title", wanted)
