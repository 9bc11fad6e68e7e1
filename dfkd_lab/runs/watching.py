"""What a seal knows of the system it watches: which files are data, which functions get round the interpreter."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from dfkd_lab.system.environment import cache

DATA_FILES = re.compile(
    r"(\.(a?png|jp[e2]|jpe?g|jfif|j2k|avif|qoi|bmp|gif|webp|p[bfgnp]m|tiff?|npy|npz|mat|lmdb|mdb|tfrecord|parquet|arrow)(\.gz)?$"
    r"|\.(h5|hdf5|csv|tsv)(\.gz)?$|ubyte(\.gz)?$|^(data|test|train)(_batch.*)?$|^cifar(?!.*\.pyc?$)|^batches\.meta$)",
    re.IGNORECASE,
)
OWN_SAMPLES = re.compile(r"round_\d+\.png")
PROCESS_EVENTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
NETWORK_EVENTS = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
PREFIXES = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev")}
"""Where Python's own files are, which a lazy import may open at any time: not worth a line in the record."""
HANDLES = Path("/proc/self/fd")
DELETED = " (deleted)"
MOST_LISTED = 100

WATCHED = [
    "files opened from Python, also through NumPy, Pillow and torch.load, by the path behind every link",
    "torch.from_file, torch.jit.load, torchvision.io.read_file and safetensors, which open files in C",
    "databases opened by sqlite3",
    "network connections made from Python",
    "processes started from Python",
]
HELD = "files of a data set that this process holds open, or mapped, when a round begins"

NOT_WATCHED = {
    "c_libraries": "files that another library opens in C (h5py, lmdb, pyarrow, OpenCV, ctypes), and torchvision "
    "where it is imported in the midst of a round",
    "network": "what comes in by a connection made before the round, or made in C, as the notebook kernel's own are",
    "memory": "data that was read into memory before the round, or is shared with another process",
    "run_folder": "what files inside the run folder hold: they count as its own, and those called like data are listed",
    "names": "a data set outside of the known folders and under no usual name, or by a second hard link",
    "between_rounds": "what other code does between rounds, when the seal is open to measure and to save",
    "own_code": "what a Python file of your own reads when it is imported, before the run",
    "teacher": "what the teacher's file holds besides a network",
}


def process_starters() -> list[tuple[Any, str, Any]]:
    """What starts a process below the events that Python announces: module, name and function; only POSIX has any."""
    try:
        posix = importlib.import_module("_posixsubprocess")
    except ImportError:
        return []
    places = ((posix, "fork_exec"), (subprocess, "_fork_exec"))
    return [(module, name, getattr(module, name)) for module, name in places if hasattr(module, name)]


def file_readers() -> list[tuple[Any, str, Any]]:
    """What opens a file in C, without an event, in the libraries that this one needs: owner, name and function."""
    places: list[tuple[Any, str]] = [
        (torch, "from_file"),
        (torch.ops.aten, "from_file"),
        (torch.UntypedStorage, "from_file"),
    ]
    places.append((torch._C, "import_ir_module"))  # torch.jit.load
    places += [(sys.modules[name], "safe_open") for name in ("safetensors", "safetensors.torch") if name in sys.modules]
    if "torchvision.io" in sys.modules:
        places.append((torch.ops.image, "read_file"))
    return [(owner, name, getattr(owner, name)) for owner, name in places if hasattr(owner, name)]


def data_roots() -> list[Path]:
    """Folders that hold data sets: scikit-learn's, ``$DFKD_DATA``, our downloads, and Keras's usual place.

    Each as it is called, as it is behind links, and where the links directly inside it lead.
    """
    roots = [Path.home() / ".keras/datasets", Path.home() / "scikit_learn_data", cache() / "datasets"]
    if os.environ.get("DFKD_DATA"):
        roots.append(Path(os.environ["DFKD_DATA"]).expanduser())
    for base in map(Path, sys.path):
        if (base / "sklearn/datasets").is_dir():
            roots += [base / "sklearn/datasets/data", base / "sklearn/datasets/images"]
    found = [*map(Path.absolute, roots), *map(Path.resolve, roots)]
    for root in roots:
        try:
            found += [each.resolve() for each in root.iterdir() if each.is_symlink()]
        except OSError:  # none there, or not ours to read: then nobody here reads it
            continue
    return list(dict.fromkeys(found))


def held_files() -> Iterator[Path]:
    """The files that this process holds open for reading, or has mapped, where the system lists them (Linux)."""
    if not HANDLES.is_dir():
        return
    for number in os.listdir(HANDLES):  # noqa: PTH208 - the handle of the listing itself is gone by now
        try:
            target = (HANDLES / number).readlink()
            flags = re.search(r"^flags:\s*(\d+)", Path(f"/proc/self/fdinfo/{number}").read_text(), re.M)
        except OSError:  # closed meanwhile
            continue
        if flags and int(flags[1], 8) & os.O_ACCMODE != os.O_WRONLY and target.is_absolute():
            yield Path(str(target).removesuffix(DELETED))
    maps = Path("/proc/self/maps").read_text(errors="surrogateescape")
    for name in {each.removesuffix(DELETED) for each in re.findall(r" (/.*)$", maps, re.M)}:  # a library has several
        yield Path(name)


@lru_cache(maxsize=10_000)  # asked of every library of the process before every round
def is_data(path: Path, roots: tuple[Path, ...]) -> bool:
    """Whether a file is called like data, or is in one of the folders ``roots`` that hold data."""
    return bool(DATA_FILES.search(path.name)) or any(path.is_relative_to(root) for root in roots)


def data_files_in(folder: Path) -> Iterator[str]:
    """The files below ``folder`` that are called like data, but for the samples that a session writes."""
    for path, _, names in os.walk(folder):
        samples = Path(path) == folder / "samples"
        yield from (
            str(Path(path, name))
            for name in names
            if DATA_FILES.search(name) and not (samples and OWN_SAMPLES.fullmatch(name))
        )


def not_watched() -> dict[str, str]:
    """Way by way, what a seal cannot see on this system."""
    more = {} if HANDLES.is_dir() else {"opened_before": f"{HELD}: this system does not list them"}
    if not process_starters():
        more["processes"] = "processes started below Python's own events: this system offers no place to refuse them"
    return {**NOT_WATCHED, **more}


def watched() -> list[str]:
    """What a seal sees on this system."""
    return [*WATCHED, *([HELD] if HANDLES.is_dir() else [])]
