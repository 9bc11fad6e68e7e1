"""Proof that a distillation read no real data.

While a seal is closed, opening a file that belongs to a data set, or looks like data, fails the run, and so does
starting another process, which could open one unseen. What was opened is listed in ``seal.json``.

The watch is Python's audit hook: it sees every file opened from Python in this process, including through torch,
NumPy and Pillow. It does not see a C library that opens a file by itself; it guards against mistakes and bad habits,
not against an attacker.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dfkd_lab.system.environment import cache

DATA_FILES = re.compile(
    r"(\.(a?png|jp[e2]|jpe?g|jfif|j2k|avif|qoi|bmp|gif|webp|p[bfgnp]m|tiff?|npy|npz|mat|lmdb|mdb|tfrecord|parquet|arrow|h5|hdf5|csv|tsv)(\.gz)?$"
    r"|ubyte(\.gz)?$|^(data|test|train)(_batch.*)?$|^cifar(?!.*\.pyc?$)|^batches\.meta$)",
    re.IGNORECASE,
)
PROCESS_EVENTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
PREFIXES = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev")}
"""Where Python's own files are, which a lazy import may open at any time: not worth a line in the record."""


class SealBroken(RuntimeError):
    """A distillation opened real data, or started a process that could."""


class Seal:
    """``with seal:`` around composing the method and around each round.

    ``allowed`` are folders whose files are the run's own. With ``thread`` it watches that one alone: while a method
    composes in a panel, another thread may be measuring the teacher.
    """

    thread: int | None = None

    def __init__(self, allowed: Iterable[Path] = ()):
        self.allowed = [Path(folder).resolve() for folder in allowed]
        self.roots = data_roots()
        self.opened: set[str] = set()
        self.violations: list[str] = []

    def __enter__(self) -> None:
        global _closed
        _install()
        _closed = self
        self._starters = process_starters()
        for module, name, _ in self._starters:
            setattr(module, name, partial(self._start_process, getattr(module, name)))

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        global _closed
        _closed = None
        for module, name, start in self._starters:
            setattr(module, name, start)
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
        elif event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)) and _reads(*arguments[1:3]):
            self._check_file(Path(os.fsdecode(arguments[0])))

    def _check_file(self, path: Path) -> None:
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would open files inside the hook
        if any(absolute.is_relative_to(folder) for folder in self.allowed):
            return
        if DATA_FILES.search(path.name) or any(absolute.is_relative_to(root) for root in self.roots):
            self._refuse(f"the distillation opened {path}, which belongs to a data set; a data-free run must not")
        if path.suffix not in (".py", ".pyc") and not any(absolute.is_relative_to(prefix) for prefix in PREFIXES):
            self.opened.add(str(path))

    def _start_process(self, start: Callable[..., Any], *arguments: Any) -> Any:
        return self._refuse_process() if self.watches else start(*arguments)

    def _refuse_process(self) -> None:
        self._refuse("the distillation started a process, which could read data unseen; a data-free run must not")

    def _refuse(self, sentence: str) -> None:
        self.violations.append(sentence)
        raise SealBroken(sentence)

    def record(self) -> dict[str, Any]:
        """What ``seal.json`` says of this session."""
        return {
            "data_free": not self.violations,
            "violations": self.violations,
            "opened_during_distillation": sorted(self.opened),
            "refuses_processes": bool(process_starters()),
        }


def process_starters() -> list[tuple[Any, str, Any]]:
    """What starts a process below the events that Python announces: module, name and function; only POSIX has any."""
    try:
        posix = importlib.import_module("_posixsubprocess")
    except ImportError:
        return []
    places = ((posix, "fork_exec"), (subprocess, "_fork_exec"))
    return [(module, name, getattr(module, name)) for module, name in places if hasattr(module, name)]


def data_roots() -> list[Path]:
    """Folders that hold data sets: scikit-learn's, ``$DFKD_DATA``, our downloads, and Keras's usual place."""
    roots = [Path.home() / ".keras/datasets", Path.home() / "scikit_learn_data", cache() / "datasets"]
    if os.environ.get("DFKD_DATA"):
        roots.append(Path(os.environ["DFKD_DATA"]).expanduser())
    for base in map(Path, sys.path):
        if (base / "sklearn/datasets").is_dir():
            roots += [base / "sklearn/datasets/data", base / "sklearn/datasets/images"]
    return [root.resolve() for root in roots]


_closed: Seal | None = None
_installed = False


def _install() -> None:
    """Audit hooks cannot be removed, so there is one for the life of the process."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _closed is not None and (event == "open" or event in PROCESS_EVENTS) and _closed.watches:
        _closed.on_event(event, arguments)


def _reads(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return not isinstance(flags, int) or flags & os.O_ACCMODE != os.O_WRONLY
