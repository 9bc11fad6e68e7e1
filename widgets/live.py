"""A live view of one run folder. It reads, and nothing depends on it: closing it loses nothing."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from dfkd_lab.runs import RunFolder
from widgets import figures, form, status

PERIOD_S, IMAGE_PERIOD_S = 0.5, 1.0
NO_RUN = {"state": "no run", "round": 0}
# ipywidgets cannot set image-rendering; without it small images are blurred.
STYLE = "<style>.dfkd-samples { image-rendering: pixelated; height: auto !important; }</style>"

_charts: list[Any] = []


def chart() -> Any:
    """The kernel's one FigureWidget: a closed one is never freed, so it is opened again for each view."""
    if not _charts:
        widget = go.FigureWidget(figures.overview([]))
        widget._config = figures.CONFIG
        _charts.append(widget)
        return widget
    # Closed and opened, it is announced to the page like a new one; a page that was reloaded may not know the old.
    _charts[0].close()
    go.FigureWidget._repr_mimebundle_(_charts[0])  # brings up to date what a new page asks for
    _charts[0].open()
    return _charts[0]


class Live:
    """Shows the run folder it is attached to, twice a second; ``on_state`` hears each change of state.

    ``refresh`` is the only writer of the widgets. ``start`` has a thread call it; a test calls it itself.
    """

    _state: str
    _drawn: bool

    def __init__(self, on_state: Callable[[str], None] = lambda state: None):
        self.on_state = on_state
        self.folder: RunFolder | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.chart = chart()
        self.status = ipywidgets.HTML(layout=ipywidgets.Layout(margin="2px 0"))
        self.samples = ipywidgets.Image(format="png", layout=ipywidgets.Layout(width="100%", display="none"))
        self.samples.add_class("dfkd-samples")
        self.caption = ipywidgets.HTML()
        self.widget = self._arrange()
        self._opened, self._drawn_at = False, 0.0
        self.chart.observe(self._note_opened, "_js2py_layoutDelta")
        self._lock, self._closing = threading.RLock(), threading.Event()
        self._forget()

    def attach(self, folder: RunFolder | None, child: subprocess.Popen[bytes] | None = None) -> None:
        """Show ``folder`` from now on; ``child`` is its process, if it was started here."""
        with self._lock:
            self.folder, self.child = folder, child
            self._forget()

    def start(self) -> None:
        """Refresh in a thread until ``close``."""
        threading.Thread(target=self._pump, name="dfkd_lab live view", daemon=True).start()

    def close(self) -> None:
        """Stop looking; the run goes on."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.chart.unobserve(self._note_opened, "_js2py_layoutDelta")
        with self._lock:
            form.close(self.widget)

    def refresh(self) -> None:
        """Read the folder once, and draw what is new."""
        with self._lock:
            if self._closing.is_set():
                return
            if self._fetch() or not self._drawn or self._opened:
                self._draw_chart()
            self._draw_samples()
            now = self.now()
            self._set(self.status, status.line(now, self.events, self.teacher_accuracy))
            if now["state"] != self._state:
                self._state = now["state"]
                self.on_state(self._state)

    def now(self) -> dict[str, Any]:
        """The run's status, and what its file cannot say: that the process is starting, or died before it began."""
        if self.folder is None:
            return dict(NO_RUN)
        code = self.child.poll() if self.child else None  # also buries the child, which would else look alive
        found = self.folder.status()
        if self.child is None or found.get("pid") == self.child.pid:
            return found
        if code is None:
            return {**found, "state": "starting", "message": "a first run also trains the digits teacher"}
        if code < 0:
            return {**found, "state": "stopped", "message": f"its process was ended before it began (signal {-code})"}
        return {**found, "state": "failed", "message": last_line(self.folder)}

    def _forget(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.teacher_accuracy: float | None = None
        self._file: int = 0
        self._sample: int = 0
        self._sampled: float = 0.0
        self._state = ""
        self._drawn = False

    def _fetch(self) -> bool:
        """Read new events; all of them again when the file was replaced, as a resumed run does."""
        if self.folder is None:
            return False
        try:
            file = (self.folder.path / "events.jsonl").stat().st_ino
        except FileNotFoundError:
            return False
        if file != self._file:
            self.events, self._file = [], file
        new = self.folder.events(len(self.events))
        self.events += new
        self.teacher_accuracy = self.folder.manifest().get("teacher", {}).get("accuracy")
        return bool(new)

    def _draw_chart(self) -> None:
        fresh = figures.overview(self.events, self.teacher_accuracy)
        with self.chart.batch_update():
            for old, new in zip(self.chart.data, fresh.data, strict=True):
                old.update(x=new.x, y=new.y, name=new.name, showlegend=new.showlegend, mode=new.mode)
                old.line.width = new.line.width
            self.chart.layout.annotations[-1].text = fresh.layout.annotations[-1].text
            self.chart.update_xaxes(showticklabels=bool(self.events))
            self.chart.update_yaxes(showticklabels=bool(self.events))
            self._drawn_at = time.monotonic()
            self.chart.layout.meta = self._drawn_at  # some change, for plotly to measure its place again
        self._drawn, self._opened = True, False

    def _note_opened(self, change: dict[str, Any]) -> None:
        """A page has just made the chart, 700 px wide whatever its place; what answers our own drawing is no news."""
        if change["new"] and time.monotonic() - self._drawn_at > 3:
            self._opened = True

    def _draw_samples(self) -> None:
        samples = self.folder.samples() if self.folder else {}
        latest = max(samples, default=0)
        if latest == self._sample or (latest and time.monotonic() - self._sampled < IMAGE_PERIOD_S):
            return
        self._sample, self._sampled = latest, time.monotonic()
        self.samples.layout.display = "" if latest else "none"
        if latest:
            self.samples.value = samples[latest].read_bytes()
        text = f"Synthetic images of round {latest}; a row for each class the teacher sees." if latest else ""
        self._set(self.caption, f"{STYLE}<div style='line-height: 1.4'>{text}</div>")

    def _pump(self) -> None:
        while not self._closing.is_set():
            begun = time.monotonic()
            try:
                self.refresh()
            except Exception as error:  # a file may be half there; the next look may be luckier
                self._set(self.status, status.line({"state": "cannot read the run", "message": str(error)}, []))
            self._closing.wait(max(0.05, PERIOD_S - (time.monotonic() - begun)))

    def _arrange(self) -> ipywidgets.VBox:
        # In a VBox the chart takes the whole width; in a Box plotly keeps its own 700 px.
        left = ipywidgets.VBox([self.chart], layout=ipywidgets.Layout(flex="3 1 480px", min_width="0"))
        right = ipywidgets.VBox(
            [self.caption, self.samples], layout=ipywidgets.Layout(flex="1 1 200px", max_width="300px")
        )
        row = ipywidgets.Box(
            [left, right], layout=ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start", width="100%")
        )
        return ipywidgets.VBox([self.status, row], layout=ipywidgets.Layout(width="100%"))

    @staticmethod
    def _set(widget: ipywidgets.HTML, text: str) -> None:
        if widget.value != text:
            widget.value = text


def last_line(folder: RunFolder) -> str:
    """The last thing the run's process printed."""
    try:
        lines = (folder.path / "log.txt").read_text(errors="replace").split("\n")
    except FileNotFoundError:
        lines = []
    return next((text.strip() for text in reversed(lines) if text.strip()), "its process ended without a word")
