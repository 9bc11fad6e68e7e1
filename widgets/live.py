"""A live view of one run folder. It reads, and nothing depends on it: closing it loses nothing."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from dfkd_lab import teachers
from dfkd_lab.engine.report import Report
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import RunFolder, records
from dfkd_lab.runs.launching import last_line
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.files import stamp
from widgets import alarm_help, figures, form, headline, series, status
from widgets.chart import Chart
from widgets.commands import Commands
from widgets.confusion import HEIGHT_OF_TWO
from widgets.downloads import Downloads
from widgets.examining import Examining
from widgets.exporting import Exporting
from widgets.history import Alarm, History
from widgets.samples import Samples
from widgets.views import EXAMINED, VIEWS, offered

PERIOD_S, IMAGE_PERIOD_S = 0.5, 1.0
CHART_BYTES_PER_S = 100_000
"""At most, so that a long run is watched over a slow line: a chart of a thousand rounds is drawn less often."""
HEIGHT = 350  # of every view but two confusion matrices, so that nothing below jumps
WAITING = "Round 1 is not finished yet:<br>the first point appears here."
EMPTY = {
    **dict.fromkeys(("starting", "running", "paused"), WAITING),
    "stopped": "The run was stopped before a round was finished:<br>Resume goes on.",
    "failed": "The run failed before a round was finished:<br>why is said below.",
    "finished": "The run has no rounds.",
}
"""What stands where no point is, by the state of the run."""
NO_RUN = {"state": "no run", "round": 0}
ALARM_STYLE = f"""<style>
.dfkd-alarm, .dfkd-over {{ border-left: 4px solid {figures.GRID}; padding: 1px 8px; margin: 2px 0; line-height: 1.4; }}
.dfkd-alarm {{ border-color: {status.AMBER}; background: rgba(199, 119, 0, 0.14); font-weight: 600; }}
</style>"""


class Live:
    """Shows the run folder it is attached to, twice a second; ``on_state`` hears the state at each look.

    ``refresh`` is the only writer of the widgets. ``start`` has a thread call it; a test calls it itself.
    """

    _drawn: bool
    _stale: bool
    """Whether there is more than the chart shows."""
    _next_chart: float
    _empty: str
    """What stands where no point is yet."""
    _pid_before: int | None
    """Of the process that wrote the run when it was attached."""

    def __init__(self, on_state: Callable[[str], None] = lambda state: None):
        self.on_state = on_state
        self.folder: RunFolder | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.chart = Chart(figures.curves([]))
        self.status = ipywidgets.HTML(layout=ipywidgets.Layout(margin="2px 0"))
        self.alarms = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0"))
        self.view = ipywidgets.ToggleButtons(
            options=offered(dense=False),
            tooltips=[text for text, _ in VIEWS.values()],
            style={"button_width": "auto"},
        )
        self.samples = Samples()
        self.downloads, self.exporting, self.commands = Downloads(), Exporting(), Commands()
        self.examining = Examining()
        self.smoothing = ipywidgets.FloatSlider(
            min=0,
            max=0.99,
            step=0.01,
            description="smoothing",
            tooltip="Draw lines as moving means; what they are means of stays, pale. 0 draws them as they are",
            continuous_update=False,
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(flex="0 1 240px", width="auto"),
        )
        self.widget = self._arrange()
        self._lock, self._closing = threading.RLock(), threading.Event()
        self._forget()
        self.view.observe(self._turn, "value")
        self.smoothing.observe(self._turn, "value")

    def attach(self, folder: RunFolder | None, child: subprocess.Popen[bytes] | None = None) -> None:
        """Show ``folder`` from now on; ``child`` is its process, if it was started here."""
        with self._lock:
            self.folder, self.child = folder, child
            self._pid_before = folder.status().get("pid") if folder else None
            self.samples.attach(folder)
            self.exporting.attach(folder)
            self.examining.attach(folder)
            self.downloads.attach(folder)
            self.commands.show(self._spec())
            self._forget()

    def start(self) -> None:
        """Refresh in a thread until ``close``."""
        threading.Thread(target=self._pump, name="dfkd_lab live view", daemon=True).start()

    def close(self) -> None:
        """Stop looking; the run goes on."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._lock:
            form.close(self.widget)

    def refresh(self) -> None:
        """Read the folder once, and draw what is new."""
        with self._lock:
            if self._closing.is_set():
                return
            self._know_run()
            self._stale = self.history.read() or self._stale
            examined = self._examined()
            found = self.now()
            empty = EMPTY.get(found["state"], figures.EMPTY)
            due = self._stale and time.monotonic() >= self._next_chart
            if not self._drawn or due or examined or empty != self._empty:
                self._empty = empty
                self._draw_chart()
            self.samples.refresh(IMAGE_PERIOD_S)
            self.exporting.refresh()
            self.downloads.refresh()
            now = self._with_seal(found)
            reports = self.history.reports
            alarms = len(reports[-1].alarms) if len(reports) else 0
            status.put(self.status, headline.html(now, self._without_alarms(), self.teacher.get("accuracy"), alarms))
            self._draw_alarms(found)
            self.on_state(now["state"])

    def now(self) -> dict[str, Any]:
        """The run's status, and what its file cannot say: that the process is starting, or died before it began."""
        if self.folder is None:
            return dict(NO_RUN)
        code = self.child.poll() if self.child else None  # also buries the child, which would else look alive
        found = self.folder.status()
        if found["state"] == "gone":
            return found
        begun = found.get("pid") != self._pid_before  # by the child, or by another process since
        if self.child is None or begun or found.get("pid") == self.child.pid:
            return found
        if code is None:
            built_in = teachers.BUILT_IN.get(self.folder.spec().teacher)
            first = "a first run also trains its teacher" if built_in and not built_in.path.exists() else ""
            return {**found, "state": "starting", "message": first}
        if code < 0:
            ended = "stopped before it began" if -code == signal.SIGTERM else f"it was ended by signal {-code}"
            return {**found, "state": "stopped", "message": ended}
        return {**found, "state": "failed", "message": last_line(self.folder)}

    def _with_seal(self, now: dict[str, Any]) -> dict[str, Any]:
        """The status of a run that has ended, with what may be said of its data-freeness; why it failed is an alarm."""
        now = {**now, "message": ""} if now["state"] == "failed" else now
        seal = self.folder.seal() if self.folder and now["state"] in status.ENDED else {}
        if not seal:
            return now
        words = f"the distillation {records.verdict(seal, len(self.history.reports))}"
        return {**now, "message": "; ".join(filter(None, [now.get("message"), words]))}

    def _forget(self) -> None:
        self.history = History(self.folder)
        self.teacher: Mapping[str, Any] = {}
        self._alarms: list[tuple[str, tuple[str, str]]] | None = None
        self._announced: set[str] = set()
        self._stands: list[tuple[int, ...]] = []
        self._drawn = self._stale = False
        self._next_chart, self._empty = 0.0, figures.EMPTY

    def _know_run(self) -> None:
        """Read what run this is if another is in its place by now, or if it has got a teacher since."""
        if self.folder is None:
            return
        stands = [stamp(self.folder.path / name) for name in ("spec.yaml", "manifest.json")]
        if stands == self._stands or not any(stands):  # one that was moved or removed stays in sight
            return
        self._stands, self._stale = stands, True
        self.commands.show(self._spec())
        self.teacher = self.folder.manifest().get("teacher", {})
        self._offer(offered(dense=self.teacher.get("task") == "segmentation"))

    def _examined(self) -> bool:
        """Read a new examination, if there is one."""
        reports = self.history.reports
        changed = self.examining.refresh(reports[-1].round if reports else 0, self.view.value in EXAMINED)
        self.history.examination = self.examining.found
        self.samples.know(self.examining.found)
        return changed

    def _offer(self, views: list[str]) -> None:
        if list(self.view.options) != views:
            chosen = self.view.value
            with self.view.hold_sync():  # new options choose the first of them
                self.view.options = views
                self.view.value = chosen if chosen in views else views[0]

    def _spec(self) -> RunSpec | None:
        """Of the run that is attached, if it can be read."""
        try:
            return self.folder.spec() if self.folder else None
        except (RunError, SpecError):
            return None

    def _turn(self, change: dict[str, Any]) -> None:
        """A person chose another figure, or how smooth it is."""
        with self._lock:
            if not self._closing.is_set():
                self._examined()
                self._draw_chart()

    def _draw_chart(self) -> None:
        figure: go.Figure = figures.smoothed(
            VIEWS[self.view.value][1](self.history, self.teacher), self.smoothing.value
        )
        figure.for_each_annotation(lambda note: note.update(text=self._empty), {"text": figures.EMPTY})
        zoomed = f"{self.view.value} of {self.folder}"  # a zoom lasts as long as this
        height = figure.layout.height if figure.layout.height == HEIGHT_OF_TWO else HEIGHT
        self.chart.show(figure.update_layout(height=height, uirevision=zoomed))
        self._drawn, self._stale = True, False
        self._next_chart = time.monotonic() + max(0.0, self.chart.size / CHART_BYTES_PER_S - PERIOD_S)

    def _draw_alarms(self, now: dict[str, Any]) -> None:
        """Every alarm of the run with its rounds; one that is new is announced, once."""
        rows = [(alarm.text, said(alarm, self.history.reports)) for alarm in self.history.alarms.values()]
        if now["state"] == "failed":
            rows.append(("failed", ("alarm", f"The run failed: {now.get('message', '')}")))
        if rows == self._alarms:
            return
        self._alarms = rows
        html = [
            f"<div class='dfkd-{kind}'{'' if name in self._announced else ' role=alert'}>{escape(text)}"
            f"{alarm_help.html(text)}</div>"
            for name, (kind, text) in rows
        ]
        self._announced |= {name for name, _ in rows}
        status.put(self.alarms, ALARM_STYLE + "".join(html) if html else "")

    def _without_alarms(self) -> list[Report]:
        """The reports for the status line, which is read aloud whenever it changes."""
        reports = self.history.reports
        return [*reports[:-1], dataclasses.replace(reports[-1], alarms=[])] if reports else []

    def _pump(self) -> None:
        while not self._closing.is_set():
            start = time.monotonic()
            try:
                self.refresh()
            except Exception as error:  # a file may be half there; the next look may be luckier
                status.put(self.status, status.line({"state": "cannot read the run", "message": str(error)}, []))
            self._closing.wait(max(0.05, PERIOD_S - (time.monotonic() - start)))

    def _arrange(self) -> ipywidgets.VBox:
        over = ipywidgets.Box([self.view, self.smoothing], layout=ipywidgets.Layout(flex_flow="row wrap"))
        shown = [over, self.chart, self.examining.widget]
        left = ipywidgets.VBox(shown, layout=ipywidgets.Layout(flex="1 1 480px", min_width="0"))
        right = ipywidgets.VBox([self.samples.widget], layout=ipywidgets.Layout(flex="0 1 402px", min_width="0"))
        right.add_class("dfkd-beside")
        row = ipywidgets.Box(
            [left, right], layout=ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start", width="100%")
        )
        parts = [self.status, row, self.alarms, self.downloads, self.exporting.widget, self.commands]
        return ipywidgets.VBox(parts, layout=ipywidgets.Layout(width="100%"))


def said(alarm: Alarm, reports: series.Reports) -> tuple[str, str]:
    """Whether an alarm still sounds, "alarm" or "over", and its sentence."""
    if alarm.last == reports[-1].round:
        return "alarm", f"Alarm since round {alarm.first}: {alarm.text}"
    rounds = f"round {alarm.first}" if alarm.first == alarm.last else f"rounds {alarm.first} to {alarm.last}"
    return "over", f"In {rounds}, and no longer: {alarm.text}"
