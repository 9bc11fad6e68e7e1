"""Class mode: large type where a page is served, and one run of a visitor at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from dfkd_lab import RunError, RunFolder, plan, prepare, sweeps
from dfkd_lab.runs import launching
from widgets import Panel, cards, classroom, figures, forecast, live, panel, visitor
from widgets.chart import Chart

pytestmark = pytest.mark.slow

STATUS = {"round": 1, "rounds": 2, "message": "", "pid": os.getpid(), "host": "elsewhere"}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the kernel of a page that Voilà serves."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOILA_KERNEL_ID", "some")
    monkeypatch.setenv("QUERY_STRING", "")
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(launching, "_children", [])


@pytest.fixture
def shown(served: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
    """A visitor's panel in which nothing trains."""
    monkeypatch.setattr(live.Live, "start", lambda self: self.refresh())
    monkeypatch.setattr(cards.Cards, "show", lambda self, *wanted: None)  # its thread would outlive the test
    monkeypatch.setattr(forecast.Forecast, "show", lambda self, *wanted: None)
    monkeypatch.setattr(panel, "launch", lambda folder, trust_code: at_work(folder, "running"))
    monkeypatch.setattr(sweeps.Order, "have_worked_off", lambda self: None)
    made = Panel(live=True)
    yield made
    made.close()


def at_work(folder: RunFolder, state: str) -> None:
    (folder.path / "status.json").write_text(json.dumps({**STATUS, "state": state}))


def a_run(root: Path, state: str) -> RunFolder:
    folder = prepare(plan(method="dafl", rounds=2, out=str(root.absolute() / "one")))
    at_work(folder, state)
    return folder


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_visitor_begins_no_second_run_while_one_is_at_work(served: None, tmp_path: Path, state: str) -> None:
    folder = a_run(tmp_path / "mine", state)
    with pytest.raises(RunError, match=r"^one is at work, and a served page computes one run of a visitor at a time"):
        visitor.check_alone(tmp_path / "mine")
    visitor.check_alone(tmp_path / "of-another")
    at_work(folder, "finished")
    visitor.check_alone(tmp_path / "mine")


def test_a_run_that_only_starts_is_one_too(served: None, tmp_path: Path) -> None:
    child = launching.begin([sys.executable, "-c", "input()"], tmp_path / "log")
    child.wait()
    visitor.check_alone(tmp_path)
    child = launching.begin([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    with pytest.raises(RunError, match=r"^another run of yours is at work"):
        visitor.check_alone(tmp_path)
    child.kill()
    child.wait()


def test_a_run_that_another_kernel_of_the_visitor_starts_is_one_too(
    served: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare(plan(method="dafl", rounds=2, out=str(tmp_path / "mine" / "one")))
    for log in (folder.path / "log.txt", sweeps.Order(tmp_path / "mine").log):
        log.parent.mkdir(parents=True, exist_ok=True)
        child = launching.begin([sys.executable, "-c", "import time; time.sleep(60)"], log)
        monkeypatch.setattr(launching, "_children", [])  # as in a kernel that did not begin it
        with pytest.raises(RunError, match=r"^(one|another run of yours) is at work"):
            visitor.check_alone(tmp_path / "mine")
        child.kill()
        child.wait()
        visitor.check_alone(tmp_path / "mine")


def test_of_two_kernels_of_a_visitor_one_has_the_turn(served: None, tmp_path: Path) -> None:
    visitor.check_alone(tmp_path / "mine")
    visitor.check_alone(tmp_path / "mine")
    words = f"from pathlib import Path; from widgets import visitor; visitor.check_alone(Path('{tmp_path / 'mine'}'))"
    other = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert "RunError: another run of yours is at work" in other.stderr
    turn = tmp_path / "mine" / visitor.TURN
    os.utime(turn, (0, 0))
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
    visitor.check_alone(tmp_path / "mine")  # that kernel is gone


def test_a_queue_that_is_worked_off_is_one_too(served: None, tmp_path: Path) -> None:
    order = sweeps.Order(tmp_path)
    assert order.take_work()
    with pytest.raises(RunError, match=r"^another run of yours is at work"):
        visitor.check_alone(tmp_path)
    order.leave_work()
    visitor.check_alone(tmp_path)


def test_who_works_alone_may_have_many(tmp_path: Path) -> None:
    a_run(tmp_path, "running")
    visitor.check_alone(tmp_path)


def test_start_and_the_queue_of_a_served_page_wait_for_the_run_that_is_on(shown: Panel) -> None:
    shown.buttons["Start"].click()
    shown.attach(None)
    shown.live.refresh()
    shown.buttons["Start"].click()
    assert "computes one run of a visitor at a time" in shown.message.value
    assert len(list((shown.root).glob("*/spec.yaml"))) == 1
    shown.queue.tell(shown.queue.add)
    assert "computes one run of a visitor at a time" in shown.queue.message.value
    assert not shown.queue.order.read().runs, "what is refused is not kept either"
    assert len(list((shown.root).rglob("spec.yaml"))) == 1


def test_a_message_that_asks_for_more_runs_at_a_time_is_refused_where_a_page_is_served(shown: Panel) -> None:
    queue = shown.queue
    assert queue.jobs.disabled
    queue.jobs.set_state({"index": 7})
    assert "jobs = 16; allowed: 1, as a served page computes one run" in queue.message.value
    assert queue.order.read().jobs == 1
    assert queue.jobs.value == 1


def test_type_is_large_where_a_page_is_served_and_only_there(shown: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "font-size: 64px" in style_of(shown)
    monkeypatch.delenv("VOILA_KERNEL_ID")
    assert classroom.style() == ""


def style_of(shown: Panel) -> str:
    return str(shown.widget.children[0].children[0].value)


def test_figures_are_drawn_in_large_type(served: None, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figures.curves([])
    figure.add_trace(go.Scatter(x=[1, 2], y=[3, 4], line={"width": 2}, marker={"size": 4}))
    large = Chart(figure).figure
    monkeypatch.delenv("VOILA_KERNEL_ID")
    usual = Chart(figure).figure
    assert large["layout"]["font"]["size"] == 1.5 * usual["layout"]["font"]["size"]
    assert large["layout"]["annotations"][-1]["font"]["size"] == 21
    assert large["layout"]["height"] == usual["layout"]["height"]
    assert large["data"][-1]["line"]["width"] == 3
    assert large["data"][-1]["marker"]["size"] == 6
    assert strip(large) == strip(usual), "and nothing else differs"


def strip(part: Any) -> Any:
    """A figure without what is enlarged."""
    if isinstance(part, dict):
        return {key: strip(value) for key, value in part.items() if key not in ("size", "width", "margin")}
    return [strip(each) for each in part] if isinstance(part, list) else part
