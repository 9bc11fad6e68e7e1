"""The page that ``make demo-class`` serves, in a real browser: read from the back row, and one run a visitor."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dfkd_lab.runs.folder import list_runs
from tests.browser.test_workbench import CHROMIUM, CONTRAST, IN_VIEW, PATIENCE_S, TEXTS, listening, page, until
from tests.support import ROOT

__all__ = ["page"]

pytest.importorskip("voila")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
SMALLEST = """(selector) => Math.min(...[...document.querySelectorAll(selector)]
    .filter((each) => each.getBoundingClientRect().height > 0 && each.textContent.trim())
    .map((each) => parseFloat(getComputedStyle(each).fontSize)))"""
"""The size in px of the smallest text that is seen in elements."""
CUT_LABELS = """() => [...document.querySelectorAll('.widget-label')]
    .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.textContent)"""
NOTE_BESIDE_ITS_PLOT = """() => [...document.querySelectorAll('.js-plotly-plot')].filter((each) => each.offsetParent)
    .flatMap((chart) => [...chart.querySelectorAll('.annotation-text')].filter((note) => {
        const [inner, outer] = [note, chart.querySelector('.bglayer rect, .plotbg, .nsewdrag')]
            .map((each) => each.getBoundingClientRect());
        return inner.left < outer.left || inner.right > outer.right;
    }).map((note) => note.textContent))"""
AT_LEAST_PX = {".dfkd-figure": 60, ".dfkd-rest": 20, ".jupyter-button": 20, ".js-plotly-plot text": 18}


@pytest.fixture
def served(tmp_path: Path, digits_cache: Path) -> Iterator[str]:
    """The address of Voilà serving a copy of the workbench, by the command of the Makefile."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("runs", ".*"))
    shutil.copy(ROOT / "voila.json", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (line,) = re.findall(r"^\t\$\(BIN\)/voila (.*)$", (ROOT / "Makefile").read_text(), re.M)
    words = line.replace("$(PORT)", str(port)).split()
    environment = {**os.environ, "DFKD_CACHE": str(digits_cache), "DFKD_DATA": ""}
    with (tmp_path / "voila.log").open("wb") as log:
        command = [sys.executable, "-m", "voila", *words]
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: listening(port), "Voilà is up")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
        for left in (folder.status() for folder in list_runs(tmp_path / "runs")):
            if left["state"] in ("running", "paused"):
                os.kill(left["pid"], signal.SIGTERM)


def test_a_run_is_read_from_the_back_row_and_is_the_visitors_only_one(served: str, page: Page, tmp_path: Path) -> None:
    artefacts = Path(os.environ.get("DFKD_ARTEFACTS") or tmp_path / "artefacts")
    page.goto(served)
    start = page.get_by_role("button", name=re.compile("Start$"))
    expect(start).to_be_enabled()
    assert min(page.evaluate(CONTRAST, ".widget-label, .dfkd-allowed, .widget-html-content div")) >= 4.5
    expect(page.get_by_text("Choose, press Start")).to_be_visible()
    expect(page.get_by_text("In JupyterLab run all cells first")).to_be_hidden()
    assert page.evaluate(NOTE_BESIDE_ITS_PLOT) == []
    for settings in ("Settings of SSD-KD", "Slots of SSD-KD", "Device, normalization"):
        page.get_by_text(re.compile(settings)).first.click()
    expect(page.get_by_text("checkpoint_s", exact=True)).to_be_visible()
    assert page.evaluate(CUT_LABELS) == []
    page.screenshot(path=artefacts / "class-settings.png", full_page=True)
    start.click()
    expect(page.locator(".dfkd-samples tr").first).to_be_visible()
    for name, width, height in (("class-1280", 1280, 800), ("class-1920", 1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(1000)  # a chart takes its new width
        page.screenshot(path=artefacts / f"{name}.png")
        for selector, least in AT_LEAST_PX.items():
            assert page.evaluate(SMALLEST, selector) >= least, selector
        for selector in (".dfkd-headline", ".js-plotly-plot", ".dfkd-samples tr"):
            assert page.evaluate(IN_VIEW, selector), f"{selector} is out of view"
        assert min(page.evaluate(CONTRAST, TEXTS)) >= 4.5
    page.get_by_role("button", name="Watch none").click()
    expect(start).to_be_enabled()
    start.click()
    expect(page.get_by_role("alert").filter(has_text="one run of a visitor at a time")).to_be_visible()
    assert len(list_runs(tmp_path / "runs")) == 1
