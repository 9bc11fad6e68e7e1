"""The command that works off what was put in a row in the panel: queue."""

from __future__ import annotations

import dataclasses
import sys

from dfkd_lab.cli.flags import read
from dfkd_lab.cli.outcome import conclude_all
from dfkd_lab.errors import RunError
from dfkd_lab.spec import setting
from dfkd_lab.system.signals import CALL_AGAIN
from dfkd_lab.system.text import printable


@dataclasses.dataclass(frozen=True)
class Flags:
    """Compute the runs that the panel's queue has, first one first; whoever changes the queue meanwhile is heard."""

    root: str = setting("", "takes the place of runs/")


def run(arguments: list[str]) -> None:
    """``queue``. The first interrupt ends it after the rounds that run, the second waits no longer."""
    flags = read(Flags, arguments, "queue")
    from dfkd_lab import sweeps
    from dfkd_lab.runs.folder import runs_root

    order = sweeps.Order(flags.root or runs_root())
    if not order.read().runs:
        print(f"nothing is in the queue of {order.root}; the panel puts runs there")
        return
    queue = sweeps.work_off(order, lambda text: print(printable(text), file=sys.stderr, flush=True))
    if queue is None:
        raise RunError(f"another process works off the queue of {order.root}")
    conclude_all(queue.folders, 130 if queue.interrupted else CALL_AGAIN, queue.left, queue.name_of)
