"""Files that are whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes | Callable[[Any], object], *, shared: bool = False) -> None:
    """Put ``content`` into ``path``: all of the new or all of the old, also after a kill or on a full disk.

    Args:
        path: The file; its folder must be there.
        content: The bytes, or a function that writes them into the open file it is given.
        shared: Whether other processes may write there at the same time.

    Raises:
        OSError: if the file cannot be written; nothing of the attempt is left behind.
    """
    # one name, so that a write that was killed leaves nothing but what the next one replaces; or one a process
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
