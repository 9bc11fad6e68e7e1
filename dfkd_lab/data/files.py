"""The files of a data set of one's own: which count, what is said of those that do not, and how they are decoded."""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dfkd_lab.data import image_file
from dfkd_lab.errors import SpecError
from dfkd_lab.system.device import free_memory
from dfkd_lab.system.text import printable, steering

LEFT_BEHIND = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "Thumbs.db", "desktop.ini", "lost+found"}
"""By systems and programs; they are no classes and no images, like whatever begins with a dot."""
AT_ONCE = 64
"""Images that a thread decodes before it asks for more."""
NAMED = 3
"""Names that a sentence gives before it says how many more there are."""

_one_set = threading.Lock()


@dataclass
class LeftOut:
    """The names of the files that are not read, by reason; as text, how many they are, and why."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: Path) -> None:
        """Remember that ``path`` is not read."""
        self.names.setdefault(reason, []).append(path.name)

    def __str__(self) -> str:
        reasons = [f"{len(names):,} {reason}: {few(names)}" for reason, names in self.names.items()]
        number = sum(map(len, self.names.values()))
        return f"{number or 'none'} left out" + (f" ({'; '.join(reasons)})" if reasons else "")


@contextmanager
def looked_for(name: str, path: str) -> Iterator[None]:
    """Around whatever looks in ``path`` for the folders of the data set ``name``.

    Raises:
        SpecError: for a path that records and cards cannot hold, or a folder that cannot be listed.
    """
    try:
        path.encode()
        if odd := steering(path):
            raise SpecError(f"{name} has a {odd} in its name; rename the folder, or give a link to it")
        yield
    except UnicodeEncodeError:
        raise SpecError(f"{name} is not UTF-8; rename the folder, or give a link to it") from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"{name} cannot be listed ({reason}); give a folder that may be read") from None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Around reading a data set: warnings are every thread's."""
    with _one_set, warnings.catch_warnings():
        # of Pillow's, about sizes, which are looked at here, and about damaged descriptions, which nobody reads
        warnings.filterwarnings("ignore", module="PIL")
        yield


def is_hidden(name: str) -> bool:
    """Whether nobody means a file or folder of this name."""
    return name.startswith(".") or name in LEFT_BEHIND


def visible(root: Path) -> list[Path]:
    """All files below ``root`` that may count."""
    return [path for path, hidden in walk(root) if not hidden and _is_regular(status(path))]


def walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """What is below ``folder``, links followed, each with whether it is hidden; a hidden folder is not entered.

    Raises:
        SpecError: if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise SpecError(f"{printable(error.filename)} cannot be listed ({error.strerror}); make it readable") from None

    entered = {identity(folder, status(folder))}
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here, inside = Path(place), []
        for name in sorted(folders):
            if is_hidden(name):
                yield here / name, True
            elif (
                same := identity(here / name, status(here / name))
            ) not in entered:  # a link may lead round in a circle
                entered.add(same)
                inside.append(name)
        folders[:] = inside
        yield from ((here / name, is_hidden(name)) for name in sorted(files))


def status(path: Path) -> os.stat_result | None:
    """None of a link to nothing, and of what may not be looked at."""
    try:
        return path.stat()
    except OSError:
        return None


def identity(path: Path, found: os.stat_result | None) -> tuple[int, int] | str:
    """The same for all names of a file or a folder; some file systems number none."""
    return (found.st_dev, found.st_ino) if found and found.st_ino else str(path)


def facts(root: Path) -> list[tuple[str, int, int]]:
    """Name, bytes and time of each visible file below ``root``: what changes when a data set does."""
    found = [(str(path.relative_to(root)), path.stat()) for path in sorted(visible(root))]
    return [(name, each.st_size, each.st_mtime_ns) for name, each in found]


def why_not_read(path: Path, hidden: bool, found: os.stat_result | None) -> str:
    """Why a file is left out; "" of an image, and of what is called one."""
    if hidden:
        return "hidden"
    if found and not _is_regular(found):  # a pipe, which would be waited for, or a device
        return "not a file"
    if path.suffix.lower() not in image_file.SUFFIXES and not (found and image_file.is_image(path)):
        return "not an image"
    return ""


def check_room(name: str, what: str, size: int) -> None:
    """Refuse what memory has no room for.

    Args:
        name: Of the data set, as a message begins.
        what: Will take the memory.
        size: In bytes.

    Raises:
        SpecError: if less is free.
    """
    free = free_memory(torch.device("cpu"))
    if free is not None and size > free:
        needs = f"{what} take {size / 2**30:.1f} GiB of memory"
        raise SpecError(f"{name}: {needs}, and {free / 2**30:.1f} GiB are free; give fewer images")


def decode(n: int, load: Callable[[int], Sequence[str]]) -> Counter[str]:
    """Call ``load`` with every place below ``n``, in threads; of how many images it said what."""

    def load_some(first: int) -> Counter[str]:
        return Counter(words for place in range(first, min(first + AT_ONCE, n)) for words in load(place))

    done = Counter[str]()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for some in pool.map(load_some, range(0, n, AT_ONCE)):
            done += some
    return done


def few(names: Sequence[str]) -> str:
    """The first names, and the last if there are more."""
    shown = [*names] if len(names) <= NAMED + 1 else [*names[:NAMED], "...", names[-1]]
    return ", ".join(map(printable, shown))


def _is_regular(found: os.stat_result | None) -> bool:
    return found is not None and stat.S_ISREG(found.st_mode)
