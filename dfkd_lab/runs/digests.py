"""Whether the files that a run goes on from are as it left them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfkd_lab.errors import DamagedFile
from dfkd_lab.system.files import sha256_of, write_atomically
from dfkd_lab.system.stored import Fields, read_json

LOG = Fields(needed={"bytes": int, "sha256": str})
SHAPE = Fields(others=[Fields(needed={"sha256": str}, known={"round": int, "events": LOG, "spec": Fields()})])
GENERATIONS = 2


class Digests:
    """``digests.json`` of a run folder: of each file the SHA-256 of what it holds, and before it of what it held.

    A file's new digest is on the disk before the file is, and the old one still beside it: at whichever point a process
    is killed, what lies there is known.

    Raises:
        DamagedFile: if ``digests.json`` itself is damaged.
    """

    def __init__(self, folder: Path):
        self.path = folder / "digests.json"
        self._known = self._read()
        self._lock = threading.Lock()

    def write(
        self,
        name: str,
        content: bytes | Callable[[Any], object],
        facts: dict[str, Any] | None = None,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """Write file ``name`` atomically, with ``facts`` beside its digest, after ``before()``.

        Raises:
            OSError: if that cannot be.
        """

        def announce(sha256: str) -> None:
            with self._lock:
                here = self._known.get(name, [])[: GENERATIONS - 1]
                self._known[name] = [{"sha256": sha256, **(facts or {})}, *here]
                self._write()
            before()

        write_atomically(self.path.with_name(name), content, announce=announce)

    def find(self, name: str, file: Path) -> dict[str, Any] | None:
        """The facts beside the digest of what ``file``, a generation of ``name``, holds; None if nothing is known.

        Raises:
            DamagedFile: if something is known, and this is something else.
        """
        if not (known := self._known.get(name)):
            return None
        sha256 = sha256_of(file)
        for each in known:
            if each["sha256"] == sha256:
                return each
        raise DamagedFile("its SHA-256 is not that of what was written")

    def are_current(self) -> bool:
        """Whether the file still says what was read."""
        return self._read() == self._known

    def forget(self, name: str) -> None:
        """Forget the newest generation of ``name``, which is damaged."""
        with self._lock:
            self._known[name] = self._known.get(name, [])[1:]
            self._write()

    def check(self, name: str, cure: str) -> None:
        """Refuse file ``name`` if it is there and is not as it was written.

        Raises:
            DamagedFile: naming it, and ``cure``.
        """
        path = self.path.with_name(name)
        try:
            if path.exists():
                self.find(name, path)
        except DamagedFile as error:
            raise DamagedFile(f"{path} is damaged ({error}); {cure}") from None

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        return read_json(self.path, SHAPE, "remove it to go on without that check")

    def _write(self) -> None:
        write_atomically(self.path, json.dumps(self._known, indent=1).encode())
