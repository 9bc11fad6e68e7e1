"""The process that works off a queue: it computes the runs of an order, as that is now."""

from __future__ import annotations

from collections import deque

from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.standing import AT_WORK
from dfkd_lab.sweeps.launchers import Local
from dfkd_lab.sweeps.order import Order, Row
from dfkd_lab.sweeps.running import Queue, Say, attend, silent


class Following(Queue):
    """A queue whose waiting runs are those of ``order``, looked at again each time; see :class:`Queue`.

    It is done when nothing runs and nothing is to be begun. The work is left in the same moment, in which nobody can
    add a run: whoever adds one later finds that a process is to be begun.
    """

    def __init__(self, order: Order, say: Say = silent):
        self.order, self._done, self._asked, self._elsewhere = order, False, 0, 0
        super().__init__([], Local(order.read().jobs), say)

    def name_of(self, folder: RunFolder) -> str:
        """As the order has it: runs of several grids may be called the same."""
        return self.order.name_of(folder)

    @property
    def is_done(self) -> bool:
        """Whether the work was left."""
        return self._done

    def advance(self) -> None:
        """Look at the order and at every unit once, while nobody changes the order."""
        with self.order.changing() as row:
            self._follow(row)
            super().advance()
            self._done = not self.running and (self.ending or not self.waiting)
            if self._done:
                self.order.leave_work()

    def _follow(self, row: Row) -> None:
        """Have what the order says waiting; end what it says no more."""
        if row.jobs != self.launcher.jobs:
            self.launcher = Local(row.jobs)
        begun = {self.name_of(folder): place for place, (folder, _) in self.running.items()}
        for name in begun.keys() - row.runs:
            self.give_up(begun[name], "taken out of the queue")
        self.hopeless &= begun.keys()  # who is put into the queue again is computed again
        if row.asked != self._asked:
            self._asked = row.asked
            self.left.clear()
            self.failures.clear()
        self.folders = [self.order.folder(name, row) for name in row.runs]
        states = {self.name_of(each): each.status()["state"] for each in self.folders}
        self._elsewhere = sum(states[name] in AT_WORK for name in states.keys() - begun.keys())
        known = {*self.left, *begun, *(name for name, state in states.items() if state == "finished")}
        wanted = [] if row.held else [each for each in self.folders if self.name_of(each) not in known]
        self.waiting = deque(each for each in wanted if each.exists())

    def _next(self) -> RunFolder:
        """The first, as people have put them."""
        return self.waiting.popleft()

    def _room(self) -> int:
        """Runs whose queue was killed go on by themselves, and take their places."""
        return super()._room() - self._elsewhere


def work_off(order: Order, say: Say = silent) -> Following | None:
    """Compute the runs of ``order`` until none is left; None if another process does.

    Interrupts and SIGTERM are answered as by :func:`dfkd_lab.sweeps.run`.

    Raises:
        RunError: if the order is damaged.
        SystemExit: with 75 where SIGTERM ended it.
    """
    if not order.take_work():
        return None
    queue = Following(order, say)
    attend(queue, 0.0, say, lambda queue: None)
    return queue
