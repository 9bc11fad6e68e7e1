"""Published data sets in torchvision's layout: found, verified, decoded; downloaded by torchvision if need be."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfkd_lab.environment import cache
from dfkd_lab.spec import SpecError

Arrays = tuple[np.ndarray, np.ndarray]
Files = list[tuple[str, str]]
"""Paths below a root, with the MD5 that torchvision publishes for each."""


@dataclass(frozen=True)
class Published:
    """A class of torchvision.datasets, the files of a split of it, and how those are decoded."""

    source: str
    files: Callable[[Any, bool], Files]
    decode: Callable[[list[bytes]], Arrays]

    def find(self, train: bool) -> tuple[Any, Files]:
        """The class in torchvision, imported only now because that takes a second; and the files of a split."""
        import torchvision.datasets

        source = getattr(torchvision.datasets, self.source)
        return source, self.files(source, train)


def read(name: str, train: bool) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] as uint8 and labels [N] of one split; each file is read once and verified before decoding.

    Raises:
        SpecError: if a file is neither here nor to be downloaded, or has another MD5 than the published one.
    """
    source, files = SETS[name].find(train)
    held = [root for root in roots() if all((root / file).is_file() for file, _ in files)]
    root = held[0] if held else _download(name, source, train, files)
    images, labels = SETS[name].decode([_verified(root / file, md5) for file, md5 in files])
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64))


def roots() -> list[Path]:
    """Where data sets are looked for: ``$DFKD_DATA`` if it is set, then the user's cache, where downloads go."""
    given = os.environ.get("DFKD_DATA")
    return [*([Path(given).expanduser()] if given else []), cache() / "datasets"]


def _verified(path: Path, md5: str) -> bytes:
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise SpecError(f"{path} is damaged or not the published file (MD5 {found}, not {md5}); remove or replace it")
    return content


def _download(name: str, source: Any, train: bool, files: Files) -> Path:
    """Let torchvision download into a folder beside the cache's, and move in what is complete."""
    root = roots()[-1]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # torchvision sets none, and some clusters drop packets without a word
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            split = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
            source(temporary, download=True, **split)
            for file, _ in SETS[name].files(source, True) + SETS[name].files(source, False):
                if (fresh := Path(temporary, file)).is_file():
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    fresh.replace(root / file)
    except (OSError, RuntimeError) as error:
        missing = next(file for file, _ in files if not (root / file).is_file())
        places = " and ".join(map(str, roots()))
        reason = (str(error) or type(error).__name__).strip().splitlines()[-1]
        raise SpecError(
            f"data = '{name}': no {missing} in {places}, and it cannot be downloaded ({reason}); "
            "put torchvision's files into one of these folders, or set DFKD_DATA to the folder that has them"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return root


def _cifar_files(source: Any, train: bool) -> Files:
    return [(f"{source.base_folder}/{file}", md5) for file, md5 in (source.train_list if train else source.test_list)]


def _mnist_files(source: Any, train: bool) -> Files:
    rows = source.resources[:2] if train else source.resources[2:]
    return [(f"{source.__name__}/raw/{file}", md5) for file, md5 in rows]


def _svhn_files(source: Any, train: bool) -> Files:
    _, file, md5 = source.split_list["train" if train else "test"]
    return [(file, md5)]


class _ArraysOnly(pickle.Unpickler):
    """Makes arrays and plain values, and refuses all else.

    A second lock behind the MD5, so that what is decoded under a checksum of one's own, as tests do, runs nothing.
    """

    KNOWN = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
                       "numpy.ndarray", "numpy.dtype"})  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self.KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")
        return super().find_class(module, name)


def _cifar(contents: list[bytes]) -> Arrays:
    batches = [_ArraysOnly(io.BytesIO(content), encoding="latin1").load() for content in contents]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels" if "labels" in batch else "fine_labels"] for batch in batches])
    return images, labels


def _mnist(contents: list[bytes]) -> Arrays:
    images, labels = (_idx(gzip.decompress(content)) for content in contents)
    return images[:, None], labels


def _idx(content: bytes) -> np.ndarray:
    """An array of bytes in IDX: two zeros, the type (8), the number of axes, their big-endian sizes, the bytes."""
    axes = content[3]
    sizes = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes).copy()  # torch wants to write


def _svhn(contents: list[bytes]) -> Arrays:
    from scipy.io import loadmat

    found = loadmat(io.BytesIO(contents[0]))
    return found["X"].transpose(3, 2, 0, 1), found["y"].ravel() % 10  # the file calls the digit 0 ten


SETS = {
    "cifar10": Published("CIFAR10", _cifar_files, _cifar),
    "cifar100": Published("CIFAR100", _cifar_files, _cifar),
    "mnist": Published("MNIST", _mnist_files, _mnist),
    "fashion_mnist": Published("FashionMNIST", _mnist_files, _mnist),
    "svhn": Published("SVHN", _svhn_files, _svhn),
}
