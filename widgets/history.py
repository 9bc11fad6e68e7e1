"""What a view remembers of a run: few enough reports to draw, however many rounds there are, and its alarms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dfkd_lab.engine.report import Report
from dfkd_lab.runs import Examination, RunFolder, contents
from dfkd_lab.runs.bookmark import Bookmark

MOST_REPORTS = 1000
"""An even number, so that the newest survives when every other one is dropped."""


class Spread:
    """Of all reports that are added at most ``MOST_REPORTS``, evenly spread, and the newest."""

    def __init__(self) -> None:
        self._even: list[Report] = []
        self._rest: list[Report] = []
        self._stride, self.count = 1, 0

    def add(self, report: Report) -> None:
        """Keep this report for now."""
        kept = self.count % self._stride == 0
        self._even += [report] if kept else []
        self._rest = [] if kept else [report]
        if len(self._even) > MOST_REPORTS:
            self._even, self._stride = self._even[::2], 2 * self._stride
        self.count += 1

    def __iter__(self) -> Iterator[Report]:
        return iter([*self._even, *self._rest])


@dataclass
class Alarm:
    """An alarm without its numbers, and the first and the last round that had it."""

    text: str
    first: int
    last: int


class History:
    """The reports of a run folder, read as they are written.

    At most ``MOST_REPORTS`` and the last one are kept, evenly spread over the run, and as many of those that were
    evaluated. ``means`` is, by round, the mean accuracy of all rounds up to it, also of those that are not kept.
    ``examination`` is what somebody found who examined the run, if anybody did; whoever reads its file puts it here.
    """

    reports: list[Report]
    alarms: dict[str, Alarm]
    _all: Spread
    _evaluated: Spread

    def __init__(self, folder: RunFolder | None = None):
        self._folder = folder.path if folder else None
        self.examination: Examination | None = None
        self._place = Bookmark()
        self._forget()

    def read(self) -> bool:
        """Read what is new, and all of it again when the file was replaced, as a resumed run does; whether any is."""
        if self._folder is None:
            return False
        if (log := contents.log(self._folder)) is None:
            another = self._all.count > 0 and self._folder.is_dir()  # a run that has not begun is in its place
            if another:
                self._place = Bookmark()
                self._forget()
            return another
        with log:
            replaced = not self._place.find(log)
            if replaced:
                self._forget()
            before = self._all.count
            for number, line in self._place.new_lines(log):
                self._add(contents.report(self._folder, number, line))
        by_round = {report.round: report for report in (*self._all, *self._evaluated)}
        self.reports = [by_round[number] for number in sorted(by_round)]
        return replaced or self._all.count > before

    def _forget(self) -> None:
        self.reports, self.alarms, self._all, self._evaluated = [], {}, Spread(), Spread()
        self.means: dict[int, float] = {}
        self._sum = 0.0

    def _add(self, report: Report) -> None:
        if report.accuracy is not None:
            self._sum += report.accuracy
            self._evaluated.add(report)
            self.means[report.round] = self._sum / self._evaluated.count
        for alarm in report.alarms:
            text = alarm.split(" (")[0]
            self.alarms.setdefault(text, Alarm(text, report.round, report.round)).last = report.round
        self._all.add(report)
