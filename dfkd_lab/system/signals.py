"""When somebody wants a process to end: Slurm, a container's host, or a person at a keyboard."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

CALL_AGAIN = 75
"""The exit status of a command that ended before its work did, saved: "call again" (BSD's EX_TEMPFAIL)."""


@contextlib.contextmanager
def terminating_at(stop: Callable[[], object]) -> Iterator[None]:
    """Have the first SIGTERM call ``stop`` instead of ending this process; the end of the block then does.

    Only for what nobody else answers: a handler that is set already stays, and another thread than the main one has
    none to set.

    Raises:
        SystemExit: with :data:`CALL_AGAIN` at the end of the block, if the signal came.
    """
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    came = threading.Event()

    def handler(*_: object) -> None:
        came.set()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop()

    if mine:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        if mine:
            with contextlib.suppress(ValueError):  # a generator that is closed by another thread
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if came.is_set():
        raise SystemExit(CALL_AGAIN)
