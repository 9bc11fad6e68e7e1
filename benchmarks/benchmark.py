"""A benchmark is a sweep: a run a row and seed, and what finishes is recorded in results/NAME.json at once.

Its runs are processes, some at a time, with their folders below runs/benchmark-NAME and a page about them all there,
``sweep.html``. The same command goes on where it was stopped or killed, and runs nothing that is recorded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from results_page import render
from rows import put, recorded, run_of, runs_of

from dfkd_lab import RunError, RunFolder, SpecError
from dfkd_lab.errors import said
from dfkd_lab.spec import unknown
from dfkd_lab.sweeps import Queue, Sweep
from dfkd_lab.sweeps.running import launcher_of
from dfkd_lab.system.device import pick_device
from dfkd_lab.system.processes import tune_process
from dfkd_lab.system.signals import CALL_AGAIN
from dfkd_lab.system.text import printable
from dfkd_lab.teachers.teacher_spec import EPOCHS, TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining, finished


@dataclass(frozen=True)
class Flags:
    """What of the benchmark is run, and how."""

    only: tuple[str, ...] = ()
    """rows, by their names; none: all"""
    seeds: tuple[int, ...] = ()
    """none: as many as are planned"""
    jobs: int = 0
    """runs at a time; 0: one for each GPU, or one"""
    minutes: float = 0.0
    """end after this time, saved; 0 goes on to the end"""
    again: bool = False
    """also what is recorded, and replace it; a run that has finished in --out is read, not run"""
    out: Path | None = None
    """the folder of its runs, and of the teachers that they need; none: runs/benchmark-NAME"""


@dataclass(frozen=True)
class Benchmark:
    """Rows of settings, each run with some seeds."""

    name: str
    """Of its results file."""
    rows: Sequence[str]
    """Their names, in the order in which they are run."""
    settings: Callable[[str, Callable[..., str]], Mapping[str, Any]]
    """What a row's runs are planned from, but for the seed. It is given :func:`ready`, short of when and where."""
    facts: Callable[[RunFolder], Mapping[str, Any]] = lambda folder: {}
    """Of a finished run what is recorded beside its result and provenance."""
    record: Callable[[str, list[dict[str, Any]]], Any] = lambda row, runs: {"runs": runs}
    """What the results file has of a row."""
    seeds: tuple[int, ...] = (0, 1, 2)
    order: Sequence[str] = ()
    """Of the results file, where it has more rows than these."""

    def run(self, flags: Flags) -> None:
        """Run what is not recorded, and render RESULTS.md.

        Raises:
            SpecError: if a run or a flag cannot be, before any is started; and at the end, if one was left.
            SystemExit: with 75 or 130 if not all are finished.
        """
        launcher_of("local", flags.jobs, flags.minutes)  # which refuses them before a teacher is trained
        refuse_working_folder(flags.out)
        if not (missing := self.missing(flags)):
            print(f"results/{self.name}.json has all of it; --again replaces it")
        try:
            if missing:
                self._carry_out(missing, flags)
        finally:
            render()

    def _carry_out(self, runs: Sequence[tuple[str, int]], flags: Flags) -> None:
        from dfkd_lab.cli.sweep import carry_out  # here: gpu.py records rows where there is nothing for command lines

        end = time.monotonic() + (60 * flags.minutes or float("inf"))
        sweep = self.sweep(runs, (flags.out or Path("runs") / f"benchmark-{self.name}").absolute(), end)
        places = dict(zip((cell.folder for cell in sweep.cells()), runs, strict=True))
        carry_out(sweep, "local", flags.jobs, minutes_until(end), partial(self._keep_finished, places))

    def missing(self, flags: Flags) -> list[tuple[str, int]]:
        """Row and seed of the runs that are asked for and not recorded.

        Seed by seed, so that a benchmark that is stopped has every row about as often; what is measured again, row by
        row, so that few have runs of two commits.

        Raises:
            SpecError: if there is no such row.
        """
        for name in flags.only:
            if name not in self.rows:
                raise SpecError("only: " + unknown(name, self.rows, f"row of {self.name}"))
        known = {row: [run["seed"] for run in runs_of(found)] for row, found in recorded(self.name).items()}
        rows, seeds = dict.fromkeys(flags.only or self.rows), dict.fromkeys(flags.seeds or self.seeds)
        if flags.again:
            return [(row, seed) for row in rows for seed in seeds]
        return [(row, seed) for seed in seeds for row in rows if seed not in known.get(row, [])]

    def sweep(self, runs: Sequence[tuple[str, int]], out: Path, end: float) -> Sweep:
        """The sweep of ``runs``, in ``out``; the teachers that they need are trained until ``end``.

        Raises:
            SystemExit: with 75 if that was too early.
        """
        teacher = partial(ready, end=end, out=out)
        settings = {row: self.settings(row, teacher) for row in dict.fromkeys(row for row, _ in runs)}
        cells = {f"{row}-seed{seed}": {**_same_everywhere(settings[row]), "seed": seed} for row, seed in runs}
        return Sweep(out.name, {"run": cells}, root=out.parent)

    def keep(self, row: str, folder: RunFolder) -> None:
        """Put a finished run into the results."""
        run = {**run_of(folder), **self.facts(folder)}
        put(self.name, self.order or self.rows, row, run, partial(self.record, row))

    def _keep_finished(self, places: dict[str, tuple[str, int]], queue: Queue) -> None:
        """Record what has finished of ``places``, which names row and seed by folder, and take it from there."""
        for folder in queue.folders:
            if folder.name in queue.finished and folder.name in places:
                self.keep(places.pop(folder.name)[0], folder)


def _same_everywhere(settings: Mapping[str, Any]) -> dict[str, Any]:
    """On a CPU in 32 bits: whether "auto" takes bf16 there is the processor's doing, and runs of a row meet several."""
    on_cpu = pick_device(settings.get("device", "auto")).type == "cpu"
    return {**({"precision": "fp32"} if on_cpu else {}), **settings}


def ready(net: str, data: str, epochs: int = EPOCHS, device: str = "cpu", *, end: float, out: Path) -> str:
    """As :func:`teacher_of`.

    Raises:
        SystemExit: with 75 if there is no teacher yet.
    """
    if (found := teacher_of(net, data, device, end, out, epochs)) is None:
        print(f"the teacher, {net} on {data}, is not trained yet; run the same command again")
        raise SystemExit(CALL_AGAIN)
    return str(found)


def teacher_of(net: str, data: str, device: str, end: float, out: Path, epochs: int = EPOCHS) -> Path | None:
    """The checkpoint of a teacher, trained below ``out`` until ``end`` if nobody has one; None if that is too early."""
    given = Path(os.environ.get("DFKD_DATA", "."), "teachers", f"{data}_{net}.pth")
    if given.is_file():
        return given
    file = out / "teachers" / f"{data}_{net}.safetensors"  # beside the runs: one folder is all there is to carry
    spec = TeacherSpec(net=net, data=data, epochs=epochs, device=device, minutes=minutes_until(end), out=str(file))
    if finished(spec) is None:
        training = TeacherTraining(spec)
        for epoch in training:
            print(epoch, flush=True)
        if not training.done:
            return None
    return spec.path


def minutes_until(end: float) -> float:
    """From now until ``time.monotonic()`` is ``end``, and a tenth at least; 0 if that is never."""
    return max(0.1, (end - time.monotonic()) / 60) if end < float("inf") else 0.0


def refuse_working_folder(out: Path | None) -> None:
    """Refuse a folder of runs that has no name, as that of "".

    Raises:
        SpecError: saying what is allowed.
    """
    if out is not None and not out.name:
        raise SpecError(f"out = '{out}' has no name; allowed: a folder of the benchmark's own")


@contextmanager
def refused() -> Iterator[None]:
    """Around a benchmark: a refusal is a sentence, or a line each, and exit status 2.

    Raises:
        SystemExit: then.
    """
    try:
        yield
    except (SpecError, RunError) as error:
        print(*map(printable, said(error)), sep="\n", file=sys.stderr)
        raise SystemExit(2) from None


Given = TypeVar("Given")


def command(main: Callable[[Given], object], flags: type[Given]) -> None:
    """Call ``main`` with what the command line says, as :func:`refused` does."""
    import tyro

    tune_process()
    with refused():
        main(tyro.cli(flags, description=(sys.modules["__main__"].__doc__ or "").strip()))
