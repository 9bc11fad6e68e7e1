"""The view of a run that trains in this very kernel: live in JupyterLab, some kilobytes of HTML when headless."""

from __future__ import annotations

import contextlib
import signal
import time
from types import FrameType

from IPython.display import HTML, display

from dfkd_lab.engine.report import Report
from dfkd_lab.runs import timing
from dfkd_lab.runs.session import Session
from widgets import status
from widgets.live import PERIOD_S, Live


class Progress:
    """``for report in session: progress.show(report)``.

    An interrupt then ends the run after its round, saved; a second one ends it at once.
    """

    def __init__(self, session: Session, live: bool | None = None):
        self.session, self._shown = session, 0.0
        if expected := timing.expected(session.run, session.teacher.card.shape):
            print(f"This run takes {expected}.")
        self.live = Live() if status.is_live(live) else None
        if self.live:
            self.live.attach(session.folder)
            display(self.live.widget)
            self.live.start()
        else:
            self._handle = display(self._line(), display_id=True)
        # A closing papermill sends SIGTERM to its kernel and waits some seconds.
        self._before = {each: signal.signal(each, self._stop) for each in (signal.SIGINT, signal.SIGTERM)}
        session.on_end.append(self._leave)

    def show(self, report: Report) -> None:
        """Draw, but not more often than anyone can see."""
        # The folder says so only after this, and there is no later report to show it.
        end = (
            "finished" if report.round == report.rounds else "stopped" if self.session.requests.newest == "stop" else ""
        )
        if self.live is None and (end or time.monotonic() - self._shown > PERIOD_S):
            self._shown = time.monotonic()
            if self._handle:
                self._handle.update(self._line(end))

    def _line(self, end: str = "") -> HTML:
        folder = self.session.folder
        now = folder.status()
        return HTML(status.line({**now, "state": end or now["state"]}, folder.reports(), self.session.teacher_accuracy))

    def _leave(self) -> None:
        """Answer no signal any more: a later run in this kernel has its own answer."""
        for number, before in self._before.items():
            with contextlib.suppress(ValueError):  # a generator that is closed by another thread
                if signal.getsignal(number) == self._stop:
                    signal.signal(number, before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.session.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
