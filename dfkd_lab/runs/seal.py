"""Watches that a distillation reads no real data, and says what it watched.

While a seal is closed, opening a file that belongs to a data set, or looks like data, fails the run, and so does
opening a database or a network connection, and starting another process, which could read unseen. What was opened is
listed in ``seal.json``, beside what was watched and what cannot be seen.

The watch is Python's audit hook, which sees every file opened from Python in this process; the functions of torch,
torchvision and safetensors that open files in C are replaced while it lasts. It guards against mistakes and bad
habits, not against an attacker.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfkd_lab.runs import watching
from dfkd_lab.runs.watching import DATA_FILES, MOST_LISTED, NETWORK_EVENTS, PREFIXES, PROCESS_EVENTS

MUST_NOT = "a data-free run must not"


class SealBroken(RuntimeError):
    """A distillation opened real data, or a way by which it could come unseen."""


class Seal:
    """``with seal:`` around composing the method and around each round.

    ``allowed`` are files, and folders whose files are the run's own. With ``thread`` it watches that one alone: while a
    method composes in a panel, another thread may be measuring the teacher.
    """

    thread: int | None = None

    def __init__(self, allowed: Iterable[Path] = ()):
        self.allowed = [Path(each).resolve() for each in allowed]
        self.roots = tuple(watching.data_roots())
        self.opened: set[str] = set()
        self.violations: list[str] = []
        self._made: set[Path] = set()
        """What the distillation itself wrote while it was watched: reading that again is no news."""

    def __enter__(self) -> None:
        global _closed
        _install()
        if self.thread is None:
            self._refuse_held_files()
        _closed = self
        self._replaced = [
            *((*place, self._refusing(place[2])) for place in watching.process_starters()),
            *((*place, self._looking(place[2])) for place in watching.file_readers()),
        ]
        for owner, name, _, replacement in self._replaced:
            setattr(owner, name, staticmethod(replacement) if isinstance(owner, type) else replacement)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        global _closed
        _closed = None
        for owner, name, function, _ in self._replaced:
            setattr(owner, name, function)
        if self.violations and (kind is None or issubclass(kind, Exception)):
            # also when the culprit swallowed the first error, or dressed it up as another
            raise SealBroken(self.violations[0])

    def allow(self, folder: Path) -> None:
        """Count the files of ``folder`` as the run's own too."""
        self.allowed.append(folder.resolve())

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Closed for the thread that asks."""
        self.thread = threading.get_ident()
        try:
            with self:
                yield
        finally:
            self.thread = None

    @property
    def watches(self) -> bool:
        """Whether what this thread does is its business."""
        return self.thread in (None, threading.get_ident())

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called for every audit event while the seal is closed."""
        if event in PROCESS_EVENTS:
            self._refuse_process()
        elif event in NETWORK_EVENTS:
            if arguments[1] is not None:  # else a message on a connection that is there
                self._refuse(f"the distillation used the network, which could bring data unseen; {MUST_NOT}")
        elif event == "sqlite3.connect":
            if arguments[0] not in ("", b"", ":memory:", b":memory:"):
                name = os.fsdecode(arguments[0])
                self._refuse(f"the distillation opened the database {name}, which could hold data; {MUST_NOT}")
        elif event == "open" and (path := _path_of(arguments[0])) is not None:
            if _reads(*arguments[1:3]):
                self._check_file(path)
            else:
                self._made.add(_real(path))

    def _refuse_held_files(self) -> None:
        for path in watching.held_files():
            if watching.is_data(path, self.roots) and not self._is_own(path):
                self._refuse(f"{path}, which belongs to a data set, is open as a round begins; close it before the run")

    def _check_file(self, path: Path) -> None:
        named, real = Path(os.path.abspath(path)), _real(path)  # noqa: PTH100 - as it is called, links and all
        if not self._is_own(real):
            if watching.is_data(named, self.roots) or watching.is_data(real, self.roots):
                self._refuse(f"the distillation opened {path}, which belongs to a data set; {MUST_NOT}")
            known = real in self._made or any(real.is_relative_to(prefix) for prefix in PREFIXES)
            if path.suffix not in (".py", ".pyc") and not known:
                self.opened.add(str(path))
        elif DATA_FILES.search(real.name):
            self.opened.add(str(path))

    def _is_own(self, real: Path) -> bool:
        return any(real.is_relative_to(each) for each in self.allowed)

    def _refusing(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*arguments: Any) -> Any:
            return self._refuse_process() if self.watches else start(*arguments)

        return refuse

    def _looking(self, read: Callable[..., Any]) -> Callable[..., Any]:
        """``read`` behind a look at every argument that is the path of a file."""

        def look(*arguments: Any, **named: Any) -> Any:
            for each in (*arguments, *named.values()):
                if self.watches and isinstance(each, str | bytes | os.PathLike) and os.path.lexists(each):
                    self._check_file(Path(os.fsdecode(each)))
            return read(*arguments, **named)

        return look

    def _refuse_process(self) -> None:
        self._refuse(f"the distillation started a process, which could read data unseen; {MUST_NOT}")

    def _refuse(self, sentence: str) -> None:
        self.violations.append(sentence)
        raise SealBroken(sentence)

    def record(self) -> dict[str, Any]:
        """What ``seal.json`` says of this session."""
        opened = self.opened.copy()
        there = sorted(path for path in opened if Path(path).exists())
        own = sorted(path for folder in self.allowed for path in watching.data_files_in(folder))
        return {
            "data_free": not self.violations,
            "violations": list(self.violations),
            "opened_during_distillation": there,
            "opened_and_gone_since": len(opened) - len(there),
            "data_files_in_run_folder": own[:MOST_LISTED],
            "refuses_processes": bool(watching.process_starters()),
            "watched": watching.watched(),
            "not_watched": watching.not_watched(),
        }


_closed: Seal | None = None
_installed = False


def _install() -> None:
    """Audit hooks cannot be removed, so there is one for the life of the process."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


HEARD = {"open", "sqlite3.connect", *PROCESS_EVENTS, *NETWORK_EVENTS}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _closed is not None and event in HEARD and _closed.watches:
        _closed.on_event(event, arguments)


def _path_of(opened: Any) -> Path | None:
    """What is opened: a path, or the number of a handle."""
    if isinstance(opened, int):
        return watching.HANDLES / str(opened) if watching.HANDLES.is_dir() else None
    return Path(os.fsdecode(opened)) if isinstance(opened, str | bytes | os.PathLike) else None


def _real(path: Path) -> Path:
    """The path behind every link; nothing is opened to find it."""
    return Path(os.path.realpath(path))  # not resolve(), which raises for a loop of links


def _reads(mode: Any, flags: Any) -> bool:
    """Whether what is in a file can be read by opening it so; one that is made or emptied has nothing yet."""
    if isinstance(mode, str):
        return "r" in mode or ("+" in mode and not {"w", "x"} & set(mode))
    return not isinstance(flags, int) or not (flags & os.O_ACCMODE == os.O_WRONLY or flags & (os.O_TRUNC | os.O_EXCL))
