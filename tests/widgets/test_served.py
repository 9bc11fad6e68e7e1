"""What a page that Voilà serves exposes, asked of Voilà itself with the project's own configuration and command."""

import asyncio
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from tornado.websocket import websocket_connect

from tests.support import ROOT

pytest.importorskip("voila")
pytestmark = pytest.mark.slow
CELL = "import os; print('served', os.environ['VOILA_KERNEL_ID'], os.environ['QUERY_STRING'])"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the project's, with a notebook that costs nothing, and a sample of somebody's run."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, folder / "notebooks" / "00_workbench.ipynb")
    shutil.copy(ROOT / "voila.json", folder)
    (folder / "runs").mkdir()
    (folder / "runs" / "round_1.png").write_bytes(b"of another")
    return folder


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """Of ``make demo-class``, without the set-up and on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (line,) = re.findall(r"^\t\$\(BIN\)/voila (.*)$", (ROOT / "Makefile").read_text(), re.M)
    words = shlex.split(line.replace("$(PORT)", str(port)))
    with subprocess.Popen([sys.executable, "-m", "voila", *words], cwd=place, stderr=subprocess.DEVNULL) as server:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
        server.terminate()


def visit(address: str, query: str = "") -> tuple[str, str]:
    """The kernel of a new visitor's page, and what it was asked for.

    A kernel that is asked while it starts may lose the question, and Voilà waits for its answer for good: another
    visit then has another kernel.
    """
    for _ in range(3):
        text, end = "", time.monotonic() + 60
        with urllib.request.urlopen(f"http://{address}/{query}", timeout=60) as page:
            while time.monotonic() < end and (block := page.read1()):
                text += block.decode(errors="replace")
                if found := re.search(r"served ([0-9a-f-]{36}) (\S*)\s", text):
                    return found[1], found[2]
    raise AssertionError(f"nothing was served: {text[-500:]}")


async def send(address: str, kernel: str, kind: str, content: dict[str, object], channel: str) -> str:
    """Send a message of ``kind``, then a question that a kernel answers; the kinds of what came back meanwhile."""
    connection = await websocket_connect(f"ws://{address}/api/kernels/{kernel}/channels?session_id=a")
    seen = ""
    for name, body, way in ((kind, content, channel), ("kernel_info_request", {}, "shell")):
        header = {"msg_id": uuid.uuid4().hex, "msg_type": name, "session": "a", "username": "", "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": body, "channel": way}
        await connection.write_message(json.dumps(message))
    while "kernel_info_reply" not in seen:
        answer = await asyncio.wait_for(connection.read_message(), 30)
        seen += " " + (json.loads(answer)["header"]["msg_type"] if isinstance(answer, str) else "")
    connection.close()
    while await connection.read_message() is not None:
        pass  # until the socket is closed
    return seen


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_a_message_that_is_not_a_widgets_reaches_no_kernel(address: str, place: Path, channel: str) -> None:
    kernel, _ = visit(address)
    code = {"code": f"open({str(place / 'executed')!r}, 'w')", "silent": False}
    seen = asyncio.run(send(address, kernel, "execute_request", code, channel))
    assert "execute" not in seen
    assert not (place / "executed").exists()


def test_visitors_have_kernels_of_their_own_and_are_told_what_was_asked_for(address: str) -> None:
    (one, _), (two, query) = visit(address), visit(address, "?visitor=abc")
    assert one != two
    assert query == "visitor=abc"


@pytest.mark.parametrize("path", ["voila/files/runs/round_1.png", "voila/files/notebooks/00_workbench.ipynb",
                                  "api/contents", "api/terminals", "api/kernels"])  # fmt: skip
def test_no_file_and_no_other_door_is_served(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"403|404") as refused:
        urllib.request.urlopen(f"http://{address}/{path}", timeout=60)
    refused.value.close()
