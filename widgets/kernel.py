"""What the kernel needs so that no click is lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import zmq
from IPython import get_ipython
from tornado.ioloop import PeriodicCallback

PERIOD_MS = 250

_kept: list[Any] = []


def keep_reading(kernel: Any = None) -> None:
    """Have the kernel look for messages four times a second; once is enough for a kernel, and none is fine.

    Before 7.4, ipykernel answers on the socket from which its stream reads, and such an answer can swallow the signal
    that a message came: all later ones then wait too, the page is dead, and only a new connection frees it (ipykernel
    issue 1554). 7.4 loses other messages after a reload (issue 1557).
    """
    kernel = kernel or getattr(get_ipython(), "kernel", None)
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None or any(kernel is each for each in _kept):
        return
    _kept.append(kernel)
    look = PeriodicCallback(partial(kernel.shell_stream.flush, zmq.POLLIN), PERIOD_MS)
    thread.io_loop.add_callback(look.start)  # in the loop of its own thread
