"""Several runs of a lesson at a time, a core each, by processes that take one after another."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from multiprocessing.synchronize import Event

import torch

from dfkd_lab import ResolvedRun, RunSpec, Session
from dfkd_lab.system.processes import tune_process, usable_cores

FEWEST_STEPS = 1000
"""With fewer, starting processes takes longer than they save."""
MOST = 4
"""Processes, each of which holds torch once more."""
_early: Event | None = None
"""In such a process: whether the runs are to end before their time."""


def worthwhile(runs: Sequence[ResolvedRun]) -> bool:
    """Whether the runs are several, on a CPU with more than a core, and long enough to start processes for."""
    steps = sum(sum(each.composed.recipe.schedule.steps(each.spec.rounds)) for each in runs)
    on_cpu = all(each.device.type == "cpu" for each in runs)
    return len(runs) > 1 and on_cpu and usable_cores() > 1 and steps >= FEWEST_STEPS


def carry_out(runs: Sequence[ResolvedRun], period: float) -> Iterator[None]:
    """Take all runs to their end, giving way every ``period`` seconds to whoever shows how far they are.

    What ends it early, as an interrupt of the kernel does, has each run saved after its round; called again it goes on.

    Raises:
        SpecError, RunError: of the first run that cannot go on; the others are saved as well.
    """
    workers = min(usable_cores(), len(runs), MOST)
    threads = max(1, usable_cores() // workers)
    spawn = multiprocessing.get_context("spawn")
    early = spawn.Event()
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=(threads, early))
    try:
        left = {pool.submit(_finish, each.spec) for each in runs}
        while left:
            done, left = wait(left, timeout=period, return_when=FIRST_EXCEPTION)
            for each in done:
                each.result()
            yield
    finally:
        early.set()
        pool.shutdown(cancel_futures=True)


def _begin(threads: int, early: Event) -> None:
    """Of a process: it takes so many cores, and ends with the one that began it, however that ended."""
    global _early
    _early = early
    tune_process()
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _finish(spec: RunSpec) -> None:
    session = Session(spec)
    for _ in session:
        if _early and _early.is_set():
            session.stop()
