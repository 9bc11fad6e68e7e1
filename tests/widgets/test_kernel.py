import threading
import time
from types import SimpleNamespace
from typing import Any

import plotly.graph_objects as go
import pytest
import zmq
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream

from widgets import kernel
from widgets.chart import Chart


def test_a_message_whose_signal_was_swallowed_is_read() -> None:
    """The one that came while an answer was sent past the stream: the kernel alone never reads it."""
    context, loop = zmq.Context(), IOLoop(make_current=False)
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer.connect(f"tcp://127.0.0.1:{port}")
    heard: list[bytes] = []
    stream = ZMQStream(router, loop)
    thread = threading.Thread(target=loop.start, daemon=True)

    def answer() -> None:
        about_to.set()
        time.sleep(0.2)  # the message arrives
        router.send_multipart([b"nobody", b"past the stream"])

    about_to = threading.Event()
    stream.on_recv(lambda parts: heard.append(parts[1]))
    kernel.keep_reading(SimpleNamespace(shell_channel_thread=SimpleNamespace(io_loop=loop), shell_stream=stream))
    thread.start()
    loop.add_callback(answer)
    assert about_to.wait(120)
    dealer.send(b"message")
    end = time.monotonic() + 120
    while not heard and time.monotonic() < end:
        time.sleep(0.05)
    loop.add_callback(loop.stop)
    thread.join(120)
    context.destroy(linger=0)
    assert heard == [b"message"]


def test_once_a_kernel_and_with_every_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    loop = SimpleNamespace(add_callback=begun.append)
    mine = SimpleNamespace(shell_channel_thread=SimpleNamespace(io_loop=loop), shell_stream=SimpleNamespace(flush=id))
    monkeypatch.setattr(kernel, "get_ipython", lambda: SimpleNamespace(kernel=mine))
    Chart(go.Figure())
    Chart(go.Figure())
    assert len(begun) == 1


def test_no_kernel_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "get_ipython", lambda: None)
    kernel.keep_reading()
