"""How far a log was read, so that whoever looks again reads only what is new."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO


class Bookmark:
    """A place in a log, after its ``count`` first lines."""

    count: int
    _offset: int
    _last: bytes
    """The line before the place: a replaced file may have the number of the one before, but not its lines."""

    def __init__(self) -> None:
        self._file = 0
        self.forget()

    def forget(self) -> None:
        """Begin with the first line again."""
        self.count, self._offset, self._last = 0, 0, b""

    def find(self, log: BinaryIO) -> bool:
        """Go to the place in ``log``; whether it is there. If another file is, as of a resumed run, begin again."""
        number = os.fstat(log.fileno()).st_ino
        log.seek(self._offset - len(self._last))
        found = number == self._file and log.read(len(self._last)) == self._last
        if not found:
            self.forget()
            self._file = number
            log.seek(0)
        return found

    def new_lines(self, log: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Each whole line from here on with its number, from 1 on; the place is behind it once the next is asked for.

        A line that is being written is left for later.
        """
        for line in log:
            if not line.endswith(b"\n"):
                return
            yield self.count + 1, line
            self.count, self._offset, self._last = self.count + 1, self._offset + len(line), line
