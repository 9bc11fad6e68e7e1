"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import difflib
import glob
import hashlib
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from dfkd_lab.system.text import printable

MOST_LOOKED_AT = 10_000
"""Files of a folder among which one is looked for that may be meant."""
LEFT_BEHIND_S = 600.0
"""Of no change, after which nobody writes a file any more."""


def write_atomically(
    path: Path,
    content: bytes | Callable[[Any], object],
    *,
    shared: bool = False,
    announce: Callable[[str], object] | None = None,
) -> None:
    """Put ``content`` into ``path``: all of the new or all of the old, also after a kill or on a full disk.

    Args:
        path: The file; its folder must be there.
        content: The bytes, or a function that writes them into the open file it is given.
        shared: Whether other processes may write there at the same time.
        announce: Called with the SHA-256 of the new content when it is on the disk, just before it takes its place.

    Raises:
        OSError: if the file cannot be written, with its name; nothing of the attempt is left behind.
    """
    # one name, so that a write that was killed leaves nothing but what the next one replaces; or one a process
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    if shared:
        _remove_left_behind(path)
    try:
        if temporary.is_symlink():  # of whoever gave us the folder: what it leads to is not for us to write
            temporary.unlink()
        with temporary.open("wb") as file:
            hashed = _Hashed(file)
            hashed.fill(content)
            file.flush()
            os.fsync(file.fileno())
        if announce:
            announce(hashed.sha256.hexdigest())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _remove_left_behind(path: Path) -> None:
    """Remove what processes that were killed left of an attempt at ``path``."""
    for file in path.parent.glob(f"{glob.escape(path.name)}.[0-9]*.tmp"):
        with contextlib.suppress(OSError):  # its process is another's, or has just ended
            if time.time() - file.lstat().st_mtime > LEFT_BEHIND_S:
                file.unlink()


def stamp(path: Path) -> tuple[int, ...]:
    """What changes whenever ``path`` is written or replaced, though its number may stay; () if it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_ino, facts.st_ctime_ns, facts.st_mtime_ns, facts.st_size


def set_aside(path: Path, previous: Path) -> None:
    """Keep the file that is about to be replaced, if there is one, as ``previous``.

    Raises:
        OSError: if it cannot be kept.
    """
    if not path.exists():
        return
    previous.unlink(missing_ok=True)
    try:
        os.link(path, previous)
    except OSError:  # a file system without links
        path.replace(previous)


def no_file(path: Path) -> str:
    """That there is no file ``path``, with one beside it whose name is nearly that."""
    try:
        names = [
            each.name for each in itertools.islice(path.parent.iterdir(), MOST_LOOKED_AT) if each.name != path.name
        ]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f"there is no file {path}" + (f"; did you mean '{printable(near[0])}'?" if near else "")


def sha256_of(path: Path, size: int = -1) -> str:
    """The SHA-256 of a file, or of its first ``size`` bytes; empty if it is shorter, or a pipe or device.

    Raises:
        OSError: if it cannot be read.
    """
    if path.exists() and not path.is_file():  # which may be waited for without end
        return ""
    digest, left = hashlib.sha256(), path.stat().st_size if size < 0 else size
    with path.open("rb") as file:
        while left and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return "" if left else digest.hexdigest()


class _Hashed:
    """An open file that knows the SHA-256 of what went in, and what the system said when it could not."""

    def __init__(self, file: BinaryIO):
        self.file, self.sha256 = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        try:
            written = self.file.write(block)
        except OSError as error:
            self.error = error
            raise
        self.sha256.update(block)
        return written

    def flush(self) -> None:
        self.file.flush()

    def fill(self, content: bytes | Callable[[Any], object]) -> None:
        """Write ``content``; what a library makes of an error of the system (torch.save: a RuntimeError) is undone."""
        try:
            if callable(content):
                content(self)
            else:
                self.write(content)
        except Exception:
            if self.error:
                raise self.error from None
            raise
