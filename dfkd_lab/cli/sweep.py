"""The command for many runs: sweep."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dfkd_lab.cli.flags import read, show_help
from dfkd_lab.cli.outcome import conclude_all
from dfkd_lab.cli.report import drawing
from dfkd_lab.cli.tables import plain_table
from dfkd_lab.errors import SpecError
from dfkd_lab.runs import RunFolder
from dfkd_lab.spec import setting
from dfkd_lab.system.signals import CALL_AGAIN
from dfkd_lab.system.text import printable

if TYPE_CHECKING:
    from dfkd_lab.sweeps import Queue, Sweep


PAGE_PERIOD_S = 300
"""Between two pages about a sweep that goes on."""


@dataclasses.dataclass(frozen=True)
class Flags:
    """All cells of a grid, planned as a whole and then run; the same command again continues, and adds new cells."""

    on: str = setting("local", "where the runs are computed", choices=("local", "slurm", "ray"))
    jobs: int = setting(0, "runs at a time; 0: one for each GPU, or one; Slurm decides itself", low=0, high=1024)
    minutes: float = setting(
        0.0,
        "end after this time, saved, and of Slurm each task, which is queued again; 0 goes on to the end",
        low=0,
        high=1_000_000,
        unit="min",
    )
    sbatch: str = setting("", "what Slurm is told, as in 'partition=gpu gres=gpu:1'")
    root: str = setting("", "takes the place of runs/")
    search: str = setting("", "what proposes settings in place of a grid", choices=("", "optuna"))
    over: str = setting("", "what a search varies, as in 'gap=0.1..3,bn_gap=1..30,memory=ring|priority'")
    trials: int = setting(20, "runs of a search", low=1, high=1000)
    by: str = setting("agreement", "what a search judges by; accuracy is an oracle", choices=("agreement", "accuracy"))


def run(arguments: list[str]) -> None:
    """``sweep SPEC.yaml``. The first interrupt ends it after the rounds that run, the second waits no longer."""
    if not {"-h", "--help"}.isdisjoint(arguments):
        show_help(Flags, "sweep SPEC.yaml")
    if not arguments or arguments[0].startswith("-"):
        raise SpecError("sweep takes a YAML file before its settings, as in: sweep ladder.yaml --jobs 2")
    flags = read(Flags, arguments[1:], "sweep")
    _refuse_what_does_not_go_together(flags)
    from dfkd_lab import sweeps

    root = Path(flags.root) if flags.root else None
    if flags.search:
        _search(arguments[0], flags, root)
        return
    sweep = sweeps.from_file(arguments[0], root)
    if flags.on == "slurm":
        folders, _ = sweeps.submit(sweep, flags.jobs, flags.minutes, flags.sbatch, _say)
        conclude_all(folders, CALL_AGAIN)
        return
    carry_out(sweep, flags.on, flags.jobs, flags.minutes)


def carry_out(
    sweep: Sweep,
    on: str = "local",
    jobs: int = 0,
    minutes: float = 0.0,
    watch: Callable[[Queue], object] = lambda queue: None,
) -> Queue:
    """Run ``sweep`` as the command does: it says what happens, draws the page about it and prints a table of its runs.

    Arguments and result are those of :func:`dfkd_lab.sweeps.run`.

    Raises:
        SpecError: if a cell cannot be run, before anything is started; and at the end, if one was left.
        RunError: if the launcher does not start.
        SystemExit: with 75 or 130 if not all are finished.
    """
    from dfkd_lab import sweeps

    page = Page(sweep.path)

    def look(queue: Queue) -> None:
        page.keep(queue)
        watch(queue)

    queue = sweeps.run(sweep, on, jobs, minutes, _say, look)
    page.finish()
    conclude_all(queue.folders, 130 if queue.interrupted else CALL_AGAIN, queue.left)
    return queue


def _refuse_what_does_not_go_together(flags: Flags) -> None:
    if flags.sbatch and flags.on != "slurm":
        raise SpecError(f"sbatch = {flags.sbatch!r} goes with --on slurm, not with --on {flags.on}")
    if flags.search and flags.on == "slurm":
        raise SpecError("search = 'optuna' proposes a trial when another has ended; allowed: --on local or --on ray")
    if not flags.search and (given := [name for name in ("over", "trials", "by") if _is_given(flags, name)]):
        raise SpecError(f"{given[0]} = {getattr(flags, given[0])!r} goes with --search optuna")


def _is_given(flags: Flags, name: str) -> bool:
    return bool(getattr(flags, name) != getattr(Flags(), name))


def _search(file: str, flags: Flags, root: Path | None) -> None:
    from dfkd_lab.sweeps import search as searching

    wanted = searching.from_file(file, flags.over, flags.trials, flags.by, root)
    page = Page(wanted.path)
    queue = searching.run(wanted, flags.on, flags.jobs, flags.minutes, _say, page.keep)
    page.finish()
    values = wanted.judged(queue.folders)
    what = {"agreement": "agreement on others' images", "accuracy": "accuracy (oracle)"}[flags.by]
    ranked = sorted(queue.folders, key=lambda each: -values.get(each.name, -1.0))
    rows = [{"trial": each.name, what: values.get(each.name), **wanted.at(each), "state": _state(each, queue)}
            for each in ranked]  # fmt: skip
    print(plain_table(rows))
    if values:
        best = ranked[0].spec()
        given = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in wanted.at(ranked[0]).items())
        print(f"best: run {best.method} {given}, {values[ranked[0].name]:.3f} {what}, n = 1")
    done = len(queue.finished | queue.hopeless)
    if queue.left or done < flags.trials:
        print(f"{done} of {flags.trials} trials are done; run the same command again")
        raise SystemExit(130 if queue.interrupted else CALL_AGAIN)


def _state(folder: RunFolder, queue: Queue) -> str:
    return "given up" if folder.name in queue.hopeless else queue.left.get(folder.name, folder.status()["state"])


class Page:
    """The page about a sweep, ``sweep.html``, which a process of its own writes when runs have finished."""

    def __init__(self, path: Path):
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None
        self.finished, self.begun = 0, time.monotonic()
        """Runs that the newest page is about, and when it was begun."""

    def keep(self, queue: Queue) -> None:
        """Begin a new one if more runs are finished and the last is old: it takes the runs' cores for some seconds."""
        if len(queue.finished) > self.finished and time.monotonic() - self.begun > PAGE_PERIOD_S:
            self.finished, self.begun = len(queue.finished), time.monotonic()
            self._begin()

    def finish(self) -> None:
        """Write the last one."""
        if self.process is not None:
            self.process.wait()
        last = drawing(self.path, subprocess.PIPE)
        said = last.communicate()[0].decode(errors="replace").strip().splitlines()
        _say(f"page {self.path / 'sweep.html'}" if last.returncode == 0 else f"no page: {''.join(said[-1:])}")

    def _begin(self) -> subprocess.Popen[bytes]:
        self.process = drawing(self.path)
        return self.process


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
