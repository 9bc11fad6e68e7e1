"""The workbench in a real JupyterLab and a real browser: press every button, and see the picture move."""

import dataclasses
import json
import os
import re
import shlex
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
import torch
from playwright.sync_api import Page, expect, sync_playwright

from dfkd_lab import RunFolder, nets, plan, prepare
from dfkd_lab.cli import flags
from dfkd_lab.runs import contents
from dfkd_lab.runs.folder import is_same_run, list_runs
from tests.support import ROOT

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
# Far more than a quiet machine takes: a busy one shall be slow, not wrong.
PATIENCE_S = 240
TRIES = 3
RUN_ALL = """async (seconds) => {
    const app = window.jupyterapp;
    const run = async () => {
        const panel = app.shell.currentWidget;
        await panel.context.ready;
        await panel.sessionContext.ready;
        await app.commands.execute('notebook:run-all-cells');
        return true;
    };
    return Promise.race([run(), new Promise(resolve => setTimeout(() => resolve(false), 1000 * seconds))]);
}"""
"""Whether the kernel answered; one that is asked while it starts may lose the question, and is never heard of again."""
RUN_ANOTHER_CELL = """async () => {
    const commands = window.jupyterapp.commands;
    await commands.execute('notebook:insert-cell-below');
    const cell = window.jupyterapp.shell.currentWidget.content.activeCell;
    cell.model.sharedModel.setSource("print('forty-two', 6 * 7)");
    await commands.execute('notebook:run-cell');
}"""
SAVE = "() => window.jupyterapp.commands.execute('docmanager:save')"
DARK = "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
POINTS = """() => {
    const chart = document.querySelector('.js-plotly-plot');
    const x = chart && chart._fullData && chart._fullData[1].x;
    return x ? x.length : 0;
}"""
PALE = "() => document.querySelector('.js-plotly-plot')._fullData.some((each) => each.opacity < 0.5)"
SAMPLE = "() => (document.querySelector('.dfkd-samples') || {}).outerHTML || ''"
BUFFER = "buffer (images)"
IN_VIEW = """(selector) => {
    const found = document.querySelector(selector);
    const box = found && found.getBoundingClientRect();
    return box && box.height > 0 && box.top >= 0 && box.top + Math.min(box.height, 150) <= window.innerHeight - 24;
}"""
"""Whether a person sees it, or the first 150 px of it; the status bar is 24 px high."""
CONTRAST = """(selector) => {
    const rgb = (text) => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (color) => color.slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
        const color = element ? rgb(getComputedStyle(element).backgroundColor) : [255, 255, 255, 255];
        return color[3] > 200 ? color : ground(element.parentElement);
    };
    return [...document.querySelectorAll(selector)].filter((each) => each.offsetParent).map((each) => {
        const [text, behind] = [getComputedStyle(each).color, ground(each)];
        const over = document.createElement("canvas").getContext("2d");
        over.fillStyle = `rgb(${behind.slice(0, 3)})`;
        over.fillRect(0, 0, 1, 1);
        over.fillStyle = text;
        over.fillRect(0, 0, 1, 1);
        const [a, b] = [light([...over.getImageData(0, 0, 1, 1).data]), light(behind)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    });
}"""
"""Of the text of each element that is seen against what is behind it, as WCAG has it."""
TEXTS = ".dfkd-headline b, .dfkd-headline span, .dfkd-headline div, .dfkd-samples small, .widget-label, .dfkd-alarm"
SIDE_SCROLL = """() => [
    ...document.querySelectorAll('.jp-OutputArea-output, .jp-WindowedPanel-outer'),
    ...[...document.querySelectorAll('.jp-OutputArea-output .jupyter-widgets')]
        .filter(each => ['auto', 'scroll'].includes(getComputedStyle(each).overflowX)),
].filter(each => each.scrollWidth > each.clientWidth + 1)
    .map(each => `${each.className} ${each.scrollWidth} > ${each.clientWidth}: ${each.textContent.slice(0, 60)}`)"""
"""What can be scrolled sideways, the page as well as any box in the panel."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


def until(look: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
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
def context(tmp_path: Path, digits_cache: Path) -> Iterator[str]:
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
        environment |= {"DFKD_DATA": "", "https_proxy": "http://127.0.0.1:9"}  # no data, and none to be downloaded
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        until(lambda: listening(port), "JupyterLab is up")
        yield f"http://127.0.0.1:{port}/doc/tree/notebooks"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # it waits for a kernel that has not answered since its page was closed
            server.kill()
            server.wait(PATIENCE_S)
        for left in (folder.status() for folder in list_runs(tmp_path / "runs")):
            if left["state"] in ("running", "paused"):
                os.kill(left["pid"], signal.SIGTERM)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = browser.new_page(viewport={"width": 1280, "height": 800})
        made.set_default_timeout(1000 * PATIENCE_S)
        expect.set_options(timeout=1000 * PATIENCE_S)
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
        for _ in range(TRIES):
            self.page.goto(self.address)
            self.page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget")
            if self.page.evaluate(RUN_ALL, PATIENCE_S / 2):
                break
        expect(self.button(button).last).to_be_enabled()

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


def test_choose_start_watch_pause_resume_reload_stop(context: str, page: Page, tmp_path: Path) -> None:
    artefacts = Path(os.environ.get("DFKD_ARTEFACTS") or tmp_path / "artefacts")
    bench = Workbench(page, context)
    leave_digits(bench, tmp_path)
    choose(bench)
    bench.screenshot("before", artefacts)
    bench.button("Start").press("Space")
    until(lambda: bench.points() >= 1, "a first point in the chart")
    first, sample = bench.points(), until(bench.sample, "a sample image")
    until(lambda: bench.points() >= first + 2, "more points")
    until(lambda: bench.sample() != sample, "another sample image")
    expect(page.get_by_role("status").filter(has_text=re.compile("about .* left")).first).to_be_visible()
    bench.screenshot("light", artefacts)
    assert page.evaluate(SIDE_SCROLL) == []
    see_the_result_first(page)
    assert min(page.evaluate(CONTRAST, TEXTS)) >= 4.5
    smooth(page)
    copy_the_command(page, tmp_path)
    bench.screenshot("smooth", artefacts)

    page.evaluate(RUN_ANOTHER_CELL)
    expect(page.get_by_text("forty-two 42", exact=True)).to_be_visible()

    bench.button("Pause").click()
    expect(bench.button("Resume")).to_be_enabled()
    expect(page.get_by_role("status").filter(has_text="paused").first).to_be_visible()
    time.sleep(1)
    held = bench.points()
    time.sleep(2)
    assert bench.points() == held
    bench.button("Resume").click()
    until(lambda: bench.points() > held, "points after Resume")

    held = bench.points()
    page.get_by_label("find").fill("digits")
    page.get_by_role("table", name="runs").get_by_role("columnheader", name="state").get_by_role("button").click()
    page.evaluate(SAVE)
    page.goto(bench.address.replace("&reset", ""))
    until(lambda: bench.points() > held, "the whole curve after a reload, and going on")
    expect(page.get_by_label("find")).to_have_value("digits")
    expect(page.get_by_role("columnheader", name="state")).to_have_attribute("aria-sort", "ascending")
    held = bench.points()
    bench.open("Pause")
    until(lambda: bench.points() > held, "the whole curve in another panel")
    page.evaluate(DARK)
    bench.button("Stop").click()
    expect(bench.button("Start")).to_be_enabled()
    expect(page.get_by_role("status").filter(has_text="stopped").first).to_be_visible()
    bench.screenshot("dark", artefacts)
    assert min(page.evaluate(CONTRAST, TEXTS)) >= 4.5

    (folder,) = list_runs(tmp_path / "runs")
    copied = tmp_path / "runs" / "copied"
    shutil.copytree(folder.path, copied)
    (copied / "student.safetensors").write_bytes(b"a student, as a run leaves it that is finished")
    page.get_by_role("table", name="runs").last.get_by_role("button", name="copied", exact=True).click()
    for name in ("student.safetensors", "report.html", "rounds.csv"):
        with page.expect_download() as downloading:
            page.get_by_role("link", name=name).last.click()
        assert downloading.value.suggested_filename == f"copied-{name}"
        downloading.value.save_as(tmp_path / name)
    assert (tmp_path / "student.safetensors").read_bytes() == (copied / "student.safetensors").read_bytes()

    shutil.copytree(copied, tmp_path / "runs" / "lessons" / "20-first")
    expect(page.get_by_text('and 1 of lessons (look for "lessons")').last).to_be_visible()
    lesson = page.get_by_role("table", name="runs").last.get_by_role("button", name="lessons/20-first", exact=True)
    expect(lesson).to_be_hidden()
    page.get_by_label("find").last.fill("lessons")
    expect(lesson).to_be_visible()
    assert len((tmp_path / "rounds.csv").read_text().splitlines()) == len(folder.reports()) + 1
    assert "<h1>fast: digits to convnet_8</h1>" in (tmp_path / "report.html").read_text()
    assert not bench.errors


def see_the_result_first(page: Page) -> None:
    """Headline, curve and first samples are seen without scrolling, the form is a line, and Tab reaches the buttons."""
    for selector in (".dfkd-headline", ".js-plotly-plot", ".dfkd-samples tr"):
        assert page.evaluate(IN_VIEW, selector), f"{selector} is out of view"
    expect(page.get_by_label("method", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Edit").focus()
    reached = []
    for _ in range(2):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.textContent"))
    assert reached == ["Pause", "Stop"], "what cannot be pressed is passed over"


def smooth(page: Page) -> None:
    """The slider, by the keyboard: lines are moving means, over what they are means of; and back."""
    expect(page.get_by_role("slider", name="round").last).to_be_visible()
    handle = page.get_by_role("slider", name="smoothing").last
    handle.press("End")
    until(lambda: page.evaluate(PALE), "pale lines")
    handle.press("Home")
    until(lambda: not page.evaluate(PALE), "lines as they are")
    handle.press("End")


def copy_the_command(page: Page, folder: Path) -> None:
    """What is copied begins the run that is watched."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_text("The command for this").last.click()
    page.get_by_role("button", name="Copy the command for a shell").last.press("Enter")
    expect(page.get_by_text("copied", exact=True).last).to_be_visible()
    text = page.evaluate("() => navigator.clipboard.readText()")
    method, *words = shlex.split(text.removeprefix("python -m dfkd_lab run "))
    (run,) = list_runs(folder / "runs")
    assert is_same_run(run, plan(method=method, **flags.parse(method, words)).spec)
    page.get_by_text("The command for this").last.click()


def leave_digits(bench: Workbench, folder: Path) -> None:
    """A bare CIFAR checkpoint and its data, and nothing else: the preset follows, and what is not there is said."""
    torch.save(nets.classifier("resnet20", 3, 10).state_dict(), folder / "bare.pth")
    bench.fill("teacher", str(folder / "bare.pth"))
    bench.fill("evaluated on", "cifar10")
    bench.fill("student", "resnet8")
    wanted = plan(method="ssd_kd", teacher=str(folder / "bare.pth"), data="cifar10", student="resnet8")
    expect(bench.page.get_by_text(f"All as in preset '{wanted.preset}'.")).to_be_visible()
    expect(bench.page.get_by_label("rounds", exact=True)).to_have_value(str(wanted.rounds))
    expect(bench.page.get_by_label(BUFFER, exact=True)).to_have_value(str(wanted.capacity))
    said = bench.page.get_by_role("alert").filter(has_text="set DFKD_DATA to the folder that has them")
    expect(said).to_be_visible()
    expect(bench.button("Start")).to_be_disabled()
    for name, value in (("evaluated on", "digits"), ("teacher", "digits"), ("student", "convnet_8")):
        bench.fill(name, value)
    expect(bench.button("Start")).to_be_enabled()


def choose(bench: Workbench) -> None:
    """Another method than the first, a smaller buffer, and short rounds; and one value that cannot be."""
    bench.page.get_by_label("method", exact=True).select_option("FastDFKD (Fang 2022, certain)")
    expect(bench.page.get_by_text("All as in preset 'digits'.")).to_be_visible()
    expect(bench.page.get_by_text("Settings of FastDFKD")).to_be_visible()
    capacity = bench.page.get_by_label(BUFFER, exact=True)
    bench.fill(BUFFER, "99999999")
    expect(bench.button("Start")).to_be_disabled()
    expect(bench.page.get_by_role("alert").filter(has_text="capacity = 99999999 is out of range")).to_be_visible()
    expect(capacity).to_have_value("99999999")
    bench.fill(BUFFER, "300")
    bench.page.get_by_text("Settings of FastDFKD").click()
    bench.fill("s_steps", "4")
    bench.fill("rounds", "300")
    bench.page.get_by_text("Settings of FastDFKD").click()
    expect(
        bench.page.get_by_text("Changed from the preset 'digits': rounds, s_steps, buffer (images).")
    ).to_be_visible()
    expect(bench.page.get_by_text("accuracy 0.9")).to_be_visible()
    expect(bench.button("Start")).to_be_enabled()


LONG = "a-name-that-nobody-can-read-at-a-glance-because-it-has-so-many-words-lr0.1-seed3"
IN_TABLE = ".dfkd-run-table :is(th button, td, label, span, summary, td button)"


def leave_runs(root: Path) -> None:
    """Four runs as lists read them, each newer than the one before."""
    spec = plan(method="dafl", rounds=2).spec
    states = {"first": "failed", "second": "finished", LONG: "finished", "x": "new"}
    for number, (name, state) in enumerate(states.items()):
        folder = prepare(dataclasses.replace(spec, out=str(root / name)))
        result = {"rounds": 2, "seconds": 1.0, "last": 0.9 - 0.1 * number, "mu": 0.5}
        status = {"state": state, "round": 2, "rounds": 2, "message": "why", "result": result}
        if state != "new":
            (folder.path / "status.json").write_text(json.dumps(status))
        os.utime(folder.path, (number, number))


def test_runs_are_found_named_labeled_deleted_and_brought_back(context: str, page: Page, tmp_path: Path) -> None:
    artefacts = Path(os.environ.get("DFKD_ARTEFACTS") or tmp_path / "artefacts")
    leave_runs(tmp_path / "runs")
    bench = Workbench(page, context)
    table = page.get_by_role("table", name="runs")
    names = table.locator("td.name")
    button = lambda name: table.get_by_role("button", name=name, exact=True)  # noqa: E731
    see_sorted_and_found(page, table, names)
    for theme in ("light", "dark"):
        if theme == "dark":
            page.evaluate(DARK)
            expect(page.locator("#jupyterlab-splash")).to_have_count(0)
        assert min(page.evaluate(CONTRAST, IN_TABLE)) >= 4.5
        button("second").scroll_into_view_if_needed()
        bench.screenshot(f"runs-{theme}", artefacts)

    button("change second").press("Enter")  # by keys alone
    page.keyboard.press("Control+A")
    page.keyboard.type("../first")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="name = '../first' is no name for a run folder")).to_be_visible()
    form = page.get_by_role("form", name="change second")
    expect(form.get_by_label("name")).to_have_value("../first")
    assert min(page.evaluate(CONTRAST, ".dfkd-run-table .alert, .dfkd-run-table form label")) >= 4.5
    bench.screenshot("runs-refused", artefacts)
    page.keyboard.press("Control+A")
    page.keyboard.type("renamed")
    for text in ("<b>kept</b>", "paper, best"):
        page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(button("change renamed")).to_be_focused()
    expect(names.filter(has_text="second")).to_have_count(0)
    expect(table.locator("td.note", has_text="<b>kept</b>")).to_be_visible()
    assert contents.label(tmp_path / "runs" / "renamed") == {"note": "<b>kept</b>", "tags": ["paper", "best"]}

    button("renamed").click()
    expect(button("renamed")).to_have_attribute("aria-current", "true")
    expect(page.locator(".dfkd-headline")).to_be_in_viewport()
    expect(page.locator(".dfkd-bar").first).to_be_in_viewport()
    expect(page.get_by_role("status").filter(has_text="finished · round").first).to_be_attached()
    page.keyboard.press("ArrowUp")
    expect(button("first")).to_be_focused()

    delete_and_undo(page, table, tmp_path / "runs")
    page.set_viewport_size({"width": 620, "height": 800})
    button("change first").click()
    expect(page.get_by_role("form", name="change first").get_by_label("note")).to_be_in_viewport()
    assert page.evaluate(SIDE_SCROLL) == []
    bench.screenshot("runs-narrow", artefacts)
    page.keyboard.press("Escape")
    page.get_by_label("compare first").check()
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator(".dfkd-runs option:checked")).to_have_count(3)
    expect(page.locator(".dfkd-runs select")).to_have_css("padding-top", "0px")  # or rows are seen in halves
    chosen = page.locator(".dfkd-runs option:checked").all_text_contents()
    columns = [text.replace("\u00a0", " ").split() for text in chosen]
    assert sorted(name for *_, name, _, _, _, _, _ in columns) == sorted(["first", "renamed", LONG])
    assert not bench.errors


def see_sorted_and_found(page: Page, table: Any, names: Any) -> None:
    """By clicks and by typing; a long name is shortened in the middle, and what is hidden stays so."""
    expect(names).to_have_count(4)
    expect(page.get_by_text("4 of 4 runs")).to_be_visible()
    marked = [table.get_by_label(f"compare {name}", exact=True).is_checked() for name in ("x", LONG, "second", "first")]
    assert marked == [False, True, True, False], "the two newest that finished"
    assert re.fullmatch("a-name-.*….*-seed3", names.nth(1).inner_text())
    assert names.nth(1).locator("button").get_attribute("title") == LONG
    for column, what in (
        ("tags", "tags that a person gave the run"),
        ("name", "name of the run; press one below to watch"),
    ):
        button = table.get_by_role("columnheader", name=column, exact=True).get_by_role("button")
        expect(button).to_have_attribute("title", re.compile(f"^{what}.*\\. Press to sort by this column\\.$"))
    # or μ, tags and note are out of sight
    expect(table.get_by_role("columnheader", name="mean over")).to_have_css("white-space", "normal")
    head = table.get_by_role("columnheader", name="last")
    for order, first in (("ascending", "a-name"), ("descending", "first")):
        head.get_by_role("button").press("Enter")
        expect(head).to_have_attribute("aria-sort", order)
        expect(names.first).to_contain_text(first)
    assert names.last.inner_text() == "x", "what is not known is last"
    page.get_by_label("find").fill("DAFL finished many")
    expect(page.get_by_text("1 of 4 runs")).to_be_visible()
    page.get_by_label("find").fill("")
    page.get_by_text("columns", exact=True).press("Enter")
    page.get_by_label("column method").uncheck()
    expect(table.get_by_role("columnheader", name="method")).to_be_hidden()
    expect(table.locator("td.method").first).to_be_hidden()


def delete_and_undo(page: Page, table: Any, root: Path) -> None:
    """The page asks first; the run is in the bin, and comes back."""
    row = table.get_by_role("button", name="renamed", exact=True)
    table.get_by_role("button", name="change renamed").click()
    for answer in ("Cancel", "Confirm"):
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(page.get_by_role("alert").filter(has_text="Move renamed to the bin?")).to_be_visible()
        page.get_by_role("button", name=answer, exact=True).press("Space")
    expect(row).to_have_count(0)
    assert RunFolder(root / ".bin" / "renamed").exists()
    assert not (root / "renamed").exists()
    undo = page.get_by_role("button", name="Undo: bring back renamed")
    expect(undo).to_be_focused()
    page.wait_for_timeout(1500)  # the page grows shorter when the view sees that its run went
    expect(undo).to_be_in_viewport()
    undo.press("Space")
    expect(row).to_be_visible()
    assert RunFolder(root / "renamed").exists()
    expect(undo).to_be_hidden()

    table.get_by_role("button", name="change renamed").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Confirm", exact=True).press("Space")
    page.get_by_text("bin (1)").press("Enter")
    page.get_by_role("button", name="bring back renamed", exact=True).press("Space")
    expect(row).to_be_visible()
    expect(page.get_by_text("bin (1)")).to_be_hidden()
