"""The workbench in a real JupyterLab and a real browser: press every button, and see the picture move."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TOKEN = "workbench"
RUN_ALL = """async () => {
    const app = window.jupyterapp;
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await app.commands.execute('notebook:run-all-cells');
}"""
POINTS = """() => {
    const chart = document.querySelector('.js-plotly-plot');
    const x = chart && chart.data && chart.data[1].x;
    return x ? x.length : 0;
}"""
SAMPLE = "() => (document.querySelector('img.dfkd-samples') || {}).src || ''"
SIDE_SCROLL = """() => [...document.querySelectorAll('.jp-OutputArea-output, .jp-WindowedPanel-outer')]
    .filter(each => each.scrollWidth > each.clientWidth + 1).length"""

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


def until(look: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def lab(tmp_path: Path, digits_cache: Path) -> Iterator[str]:
    """The address of a JupyterLab that knows nothing of this user, serving a copy of the notebooks."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("runs", ".*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
    homes = {name: str(tmp_path / "home" / name.lower()) for name in names}
    for home in homes.values():
        Path(home).mkdir(parents=True)
    settings = Path(homes["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
               "--allow-root", f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True",
               "--LabApp.news_url=None", f"--ServerApp.root_dir={tmp_path}"]  # fmt: skip
    with (tmp_path / "lab.log").open("wb") as log:
        environment = {**os.environ, **homes, "DFKD_CACHE": str(digits_cache)}
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    until(lambda: listening(port), "JupyterLab is up")
    yield f"http://127.0.0.1:{port}/doc/tree/notebooks"
    server.send_signal(signal.SIGTERM)
    server.wait(20)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = browser.new_page(viewport={"width": 1280, "height": 800})
        yield made
        browser.close()


class Workbench:
    """The notebook in a browser, as somebody who sees it."""

    def __init__(self, page: Page, address: str):
        self.page, self.errors = page, list[str]()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.address = f"{address}/00_workbench.ipynb?token={TOKEN}&reset"
        self.open("Start")

    def open(self, button: str) -> None:
        """Load the page and run all; ``button`` can then be pressed."""
        self.page.goto(self.address)
        self.page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget", timeout=60_000)
        self.page.evaluate(RUN_ALL)
        expect(self.button(button).last).to_be_enabled(timeout=60_000)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=re.compile(rf"{name}$"))

    def fill(self, name: str, value: str) -> None:
        field = self.page.get_by_label(name, exact=True)
        field.fill(value)
        field.press("Tab")

    def points(self) -> int:
        return int(self.page.evaluate(POINTS))

    def sample(self) -> str:
        return str(self.page.evaluate(SAMPLE))

    def screenshot(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


def test_start_watch_pause_resume_stop(lab: str, page: Page, tmp_path: Path) -> None:
    artefacts = Path(os.environ.get("DFKD_ARTEFACTS") or tmp_path / "artefacts")
    bench = Workbench(page, lab)
    bench.screenshot("before", artefacts)
    bench.fill("rounds", "200")
    bench.button("Start").click()
    until(lambda: bench.points() >= 1, "a first point in the chart", 90)
    first, sample = bench.points(), until(bench.sample, "a sample image")
    until(lambda: bench.points() >= first + 2, "more points")
    until(lambda: bench.sample() != sample, "another sample image")
    bench.screenshot("running", artefacts)
    assert page.evaluate(SIDE_SCROLL) == 0

    bench.button("Pause").click()
    expect(bench.button("Resume")).to_be_enabled(timeout=20_000)
    time.sleep(1.5)
    held = bench.points()
    time.sleep(2)
    assert bench.points() == held

    bench.button("Resume").click()
    until(lambda: bench.points() > held, "points after Resume")

    bench.open("Pause")
    until(lambda: bench.points() > held, "the whole curve after a reload")
    bench.button("Stop").click()
    expect(bench.button("Start")).to_be_enabled(timeout=20_000)
    expect(page.get_by_role("status").filter(has_text="stopped").first).to_be_visible()
    bench.screenshot("stopped", artefacts)
    assert not bench.errors
