"""How far a run is: a bar on a terminal, a plain line a round where the output is kept."""

from __future__ import annotations

import dataclasses
import sys
from types import TracebackType

from tqdm import tqdm

from dfkd_lab.engine.report import Report
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.timing import remaining
from dfkd_lab.system.text import printable

BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} rounds [{elapsed}{postfix}]"


class Progress:
    """``with Progress(folder, rounds) as shown: shown.show(report)``; begins where the run folder stands.

    The time left is that of the rounds themselves: what came before the first one does not count.
    """

    def __init__(self, folder: RunFolder, rounds: int):
        self.reports = folder.reports()
        self.accuracy = next((each.accuracy for each in reversed(self.reports) if each.accuracy is not None), None)
        self.bar = tqdm(
            total=rounds,
            initial=len(self.reports),
            bar_format=BAR,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def show(self, report: Report) -> None:
        """Show that a round is over, and its alarms."""
        self.reports = [*self.reports[-30:], report]
        self.accuracy = self.accuracy if report.accuracy is None else report.accuracy
        known = postfix(dataclasses.replace(report, accuracy=self.accuracy))
        left = "" if report.round == report.rounds else f", {remaining(self.reports)}"
        if self.bar.disable:
            print(f"round {report.round} of {report.rounds}: {known}{left}", file=sys.stderr, flush=True)
        else:
            self.bar.set_postfix_str(known + left, refresh=False)
            self.bar.update(report.round - self.bar.n)
        for alarm in report.alarms:
            tqdm.write(printable(f"round {report.round}: {alarm}"), file=sys.stderr)


def postfix(report: Report) -> str:
    """Accuracy and health of a round, for behind a progress bar."""
    accuracy = [] if report.accuracy is None else [f"{report.metric} {report.accuracy:.3f}"]
    shown = [f"{name} {report.health[name]:.2f}" for name in ("agreement", "entropy", "confidence")]
    return " ".join(accuracy + shown)
