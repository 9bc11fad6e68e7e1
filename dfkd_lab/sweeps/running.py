"""The runs of a sweep, some at a time, until all are finished: what fails is tried again, what others hold is left."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from filelock import FileLock

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder, identity
from dfkd_lab.runs.launching import last_line
from dfkd_lab.runs.standing import AT_WORK
from dfkd_lab.sweeps.grid import Sweep
from dfkd_lab.sweeps.launchers import LAUNCHERS, Launcher, slurm
from dfkd_lab.system.locks import WITHOUT_LOCKS, keeps_locks
from dfkd_lab.system.signals import CALL_AGAIN, terminating_at

REFUSED, INTERRUPTED = 2, 130
MOST_FAILURES = 3
"""Of one run in one sweep's process, until it is left alone."""
PERIOD_S, TOLD_EVERY_S = 0.2, 5.0
Say = Callable[[str], object]


def silent(text: str) -> None:
    """Says nothing."""


class Queue:
    """``advance()`` starts what can be started and hears what has ended; all that is known of a run is in its folder.

    Args:
        folders: Prepared.
        launcher: Where they are computed.
        say: Told in words what happens.
    """

    def __init__(self, folders: Iterable[RunFolder], launcher: Launcher, say: Say = silent):
        self.folders, self.launcher, self.say = list(folders), launcher, say
        self.finished = {self.name_of(each) for each in self.folders if each.status()["state"] == "finished"}
        self.waiting = deque(each for each in self.folders if self.name_of(each) not in self.finished)
        self.running: dict[int, tuple[RunFolder, Any]] = {}
        """By place."""
        self.left: dict[str, str] = {}
        """Runs that are not tried again, and why."""
        self.hopeless: set[str] = set()
        """Runs that were given up."""
        self.failures: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        """What finished runs took, by what they compute whatever their seed."""
        self._kinds: dict[str, str] = {}
        """What each run computes whatever its seed, read once: of a thousand that wait, each start looks at all."""
        self.ending = self.interrupted = False

    def name_of(self, folder: RunFolder) -> str:
        """What tells a run from the others."""
        return folder.name

    @property
    def is_done(self) -> bool:
        """Whether nothing is running, and nothing will be."""
        return not self.running and (self.ending or not self.waiting)

    def advance(self) -> None:
        """Look at every unit once."""
        for place, (folder, unit) in list(self.running.items()):
            if (code := self.launcher.poll(unit)) is not None:
                del self.running[place]
                self._ended(folder, code)
        if not self.ending:
            self._fill()

    def end(self) -> None:
        """Start nothing more, and have what runs end after its round, saved."""
        if self.ending:
            return
        self.ending = True
        for folder, unit in self.running.values():
            if self.name_of(folder) not in self.hopeless:  # which was told before, and a second SIGTERM kills
                self.launcher.stop(unit)

    def _fill(self) -> None:
        """Start waiting runs at free places; those that another process holds are looked at again later."""
        elsewhere = []
        while self.waiting and self._room() > 0:
            folder = self._next()
            state = folder.status()["state"]
            if state == "finished":
                self._finish(folder)
            elif state in AT_WORK:
                elsewhere.append(folder)
            else:
                self._start(folder, "begins" if state == "new" else "goes on")
        self.waiting.extend(elsewhere)

    def _next(self) -> RunFolder:
        """Take the first that waits, or of several at a time the longest, so that none is computed alone at the end.

        A run takes as long as one that has finished and differs by its seed alone; those not known come first.
        """
        if self.launcher.jobs == 1 or not self._seconds:
            return self.waiting.popleft()
        longest = max(self.waiting, key=lambda each: self._seconds.get(self._kind(each), math.inf))
        self.waiting.remove(longest)
        return longest

    def _kind(self, folder: RunFolder) -> str:
        if (name := self.name_of(folder)) not in self._kinds:
            try:
                self._kinds[name] = json.dumps(identity(folder.spec(), "seed"), sort_keys=True)
            except (RunError, SpecError):  # of a folder that is damaged, which its own process will say
                self._kinds[name] = name
        return self._kinds[name]

    def _room(self) -> int:
        """How many more may run."""
        return self.launcher.jobs - len(self.running)

    def _start(self, folder: RunFolder, word: str) -> None:
        free = next(place for place in itertools.count() if place not in self.running)
        try:
            self.running[free] = folder, self.launcher.start(folder, free)
        except (RunError, OSError) as error:  # of this folder alone: it was removed, say
            self._leave(folder, str(error))
        else:
            self.say(f"{self.name_of(folder)}: {word}")

    def add(self, folder: RunFolder) -> None:
        """One more run, prepared."""
        self.folders.append(folder)
        self.waiting.append(folder)

    def give_up(self, place: int, reason: str) -> None:
        """Have what runs at ``place`` end after its round, saved, and do not begin it again."""
        folder, unit = self.running[place]
        if self.name_of(folder) not in self.hopeless:
            self.hopeless.add(self.name_of(folder))
            self.launcher.stop(unit)
            self.say(f"{self.name_of(folder)}: {reason}")

    def _ended(self, folder: RunFolder, code: int) -> None:
        name, state = self.name_of(folder), folder.status()["state"]
        if name in self.hopeless and state != "finished":
            return
        if state == "finished":
            self._finish(folder)
        elif code == CALL_AGAIN or (self.ending and (code == INTERRUPTED or code < 0)):
            self.waiting.appendleft(folder)
        elif code == REFUSED and state in AT_WORK:
            self.waiting.append(folder)  # another process was faster
        elif code == INTERRUPTED:
            self._leave(folder, "was stopped, and goes on when the sweep is called again")
        else:
            self.failures[name] += 1
            reason = f"ended by signal {-code}" if code < 0 else f"exit {code}: {last_line(folder)}"
            if code == REFUSED or self.failures[name] >= MOST_FAILURES:
                self._leave(folder, reason)
            else:
                self.say(f"{name}: {reason}; it is tried again")
                self.waiting.append(folder)

    def _finish(self, folder: RunFolder) -> None:
        self.finished.add(self.name_of(folder))
        self._seconds[self._kind(folder)] = folder.result()["seconds"]
        self.say(f"{self.name_of(folder)}: finished, {len(self.finished)} of {len(self.folders)}")

    def _leave(self, folder: RunFolder, reason: str) -> None:
        self.left[self.name_of(folder)] = reason
        self.say(f"{self.name_of(folder)}: {reason}")


def run(
    sweep: Sweep,
    on: str = "local",
    jobs: int = 0,
    minutes: float = 0.0,
    say: Say = silent,
    watch: Callable[[Queue], object] = lambda queue: None,
) -> Queue:
    """Plan all cells of ``sweep``, then run those that are not finished; the same call continues.

    Args:
        sweep: See there.
        on: Where: one of :data:`~dfkd_lab.sweeps.launchers.LAUNCHERS`. For Slurm, see :func:`submit`.
        jobs: How many at a time; 0 takes as many as there are GPUs, or one.
        minutes: End after this time, saved; 0 goes on to the end.
        say: Told in words what happens.
        watch: Shown the queue, which it may end, a few times a second, and as it ended.

    Gives the queue as it ended: what finished, what was left and why. The first interrupt has what runs end after its
    round, saved, and waits for that; the second does not wait.

    Raises:
        SpecError: if a cell cannot be run, before anything is started.
        RunError: if the launcher does not start.
        SystemExit: with 75 where SIGTERM ended it.
    """
    launcher = launcher_of(on, jobs, minutes)
    return attend(Queue(_prepared(sweep, say), launcher(), say), minutes, say, watch)


def launcher_of(on: str, jobs: int, minutes: float) -> Callable[[], Launcher]:
    """What makes the launcher ``on``, for ``jobs`` at a time.

    Raises:
        SpecError: if there is none, or a number cannot be.
    """
    if on not in LAUNCHERS:
        raise SpecError(f"on = '{on}'; allowed: {', '.join(LAUNCHERS)}")
    if jobs < 0 or not 0 <= minutes < math.inf:
        raise SpecError(f"jobs = {jobs} and minutes = {minutes:g}; allowed: 0 or more")
    return partial(LAUNCHERS[on], jobs)


def attend(queue: Queue, minutes: float, say: Say, watch: Callable[[Queue], object]) -> Queue:
    """Look after ``queue`` until nothing is left to do, or for ``minutes``; see :func:`run`."""
    ends = time.monotonic() + (60 * minutes or math.inf)
    with terminating_at(queue.end):
        while True:
            try:
                if not queue.ending and time.monotonic() >= ends:
                    queue.end()
                queue.advance()
                watch(queue)
                if queue.is_done:
                    return queue
                time.sleep(PERIOD_S)
            except KeyboardInterrupt:
                if queue.interrupted:
                    raise
                queue.interrupted = True
                queue.end()
                say("ending after the rounds that run; interrupt again to wait for them no longer")
            except Exception:
                queue.end()  # of the caller, or of a folder: what runs is saved
                raise


def submit(
    sweep: Sweep, jobs: int = 0, minutes: float = 0.0, sbatch: str = "", say: Say = silent
) -> tuple[list[RunFolder], str]:
    """Plan all cells of ``sweep``, then give Slurm those that are neither finished nor at work, as one array.

    Args:
        sweep: See there.
        jobs: How many tasks at a time; 0 leaves that to Slurm.
        minutes: The time limit of a task, which saves at its end and is queued again; 0 takes the partition's.
        sbatch: Its options, as in "partition=gpu gres=gpu:1".
        say: Told in words what happens.

    Gives all run folders, and the number of the job that has the unfinished ones: "" where there are none, or no Slurm.

    Raises:
        SpecError: if a cell cannot be run or an option cannot be, before anything is written.
        RunError: if sbatch refuses.
    """
    array = slurm.Array(sweep.path, jobs, minutes, sbatch)
    folders = _prepared(sweep, say)
    with FileLock(sweep.path / "submit.lock"):  # of two at once, the second finds the first one's job
        return folders, _submitted(array, folders, say)


def _submitted(array: slurm.Array, folders: list[RunFolder], say: Say) -> str:
    """The job that has the unfinished ones of ``folders``."""
    if job := array.poll():
        say(f"job {job} is still in the queue; nothing more is given to it (scancel {job} ends it, saved)")
        return job
    if not (unfinished := [each for each in folders if each.status()["state"] not in ("finished", *AT_WORK)]):
        return ""
    job = array.start(unfinished)
    count = f"{len(unfinished)} of {len(folders)} runs"
    script = array.path / "array.sh"
    say(f"job {job}: {count}" if job else f"there is no sbatch here; {count} are in {script}: sbatch {script}")
    return job


def _prepared(sweep: Sweep, say: Say) -> list[RunFolder]:
    told = time.monotonic()

    def planned_to(cells: int) -> None:
        nonlocal told
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            say(f"planned {cells} of {sweep.size} cells")

    folders = sweep.prepare(planned_to)
    if not keeps_locks(sweep.path):
        say(WITHOUT_LOCKS.format(sweep.path))
    return folders
