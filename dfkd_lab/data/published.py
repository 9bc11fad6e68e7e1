"""Published data sets through torchvision: looked for in two places, verified, downloaded if need be."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfkd_lab.data.split import Split
from dfkd_lab.errors import SpecError
from dfkd_lab.system.environment import cache

TIMEOUT_S = 30.0
"""For a server to answer; torchvision sets none, and some clusters drop packets without a word."""


def read(name: str, source: str, train: bool) -> Split:
    """One split of the set ``name``: images [N, C, H, W] as uint8 and labels [N].

    Args:
        name: As the user says it.
        source: Of torchvision.datasets: "CIFAR10", "MNIST", "SVHN", or a set in the layout of one of these.
        train: Which split.

    Raises:
        SpecError: if its files are neither here nor to be downloaded, or are not the published ones.
    """
    for root in roots():
        if (made := _open(source, root, train)) is not None:
            return made
    _download(name, source, train)
    made = _open(source, roots()[-1], train)
    if made is None:
        raise SpecError(f"data = '{name}': what was downloaded to {roots()[-1]} is not what torchvision expects")
    return made


def is_here(source: str, train: bool) -> bool:
    """Whether the files of a split are in one of the places, unverified."""
    return any(all(_found(root / file) for file, _ in files_of(source, train)) for root in roots())


def roots() -> list[Path]:
    """Where data sets are looked for: ``$DFKD_DATA`` if it is set, then the user's cache, where downloads go."""
    given = os.environ.get("DFKD_DATA")
    return [*([Path(given).expanduser()] if given else []), cache() / "datasets"]


def files_of(source: str, train: bool) -> list[tuple[str, str]]:
    """The files of a split below a root, each with the MD5 that torchvision publishes for it."""
    published = _class(source)
    if hasattr(published, "train_list"):
        files = published.train_list if train else published.test_list
        return [(f"{published.base_folder}/{file}", md5) for file, md5 in files]
    if hasattr(published, "resources"):
        files = published.resources[:2] if train else published.resources[2:]
        return [(f"{published.__name__}/raw/{file}", md5) for file, md5 in files]
    _, file, md5 = published.split_list["train" if train else "test"]
    return [(file, md5)]


def _class(source: str) -> Any:
    import torchvision.datasets  # only now, because that takes a second

    return getattr(torchvision.datasets, source)


def _found(path: Path) -> bool:
    return path.is_file() or path.with_suffix("").is_file()  # torchvision unpacks MNIST's files beside the archives


def _open(source: str, root: Path, train: bool) -> Split | None:
    """The split from ``root``; None if it is not there.

    Raises:
        SpecError: if it is there, but a file is not the published one.
    """
    files = files_of(source, train)
    if not all(_found(root / file) for file, _ in files):
        return None
    try:
        with tempfile.TemporaryDirectory() as temporary:
            data_set = _open_one_split(source, _unpacked(root, files, Path(temporary)), train)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        damaged = [root / file for file, md5 in files if (root / file).is_file() and _md5(root / file) != md5]
        which = damaged[0] if damaged else root / files[0][0]
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise SpecError(f"{which} is damaged or not the published file ({reason}); remove or replace it") from None
    labels = getattr(data_set, "targets", getattr(data_set, "labels", None))  # SVHN calls them labels
    return Split(_images(data_set.data), torch.as_tensor(labels).long())


def _open_one_split(source: str, root: Path, train: bool) -> Any:
    """Torchvision's data set, asked for the files of one split only."""
    published = _class(source)
    only: dict[str, Any] = {}
    if hasattr(published, "train_list"):
        only = {"test_list" if train else "train_list": [], "_load_meta": lambda self: None}
    elif hasattr(published, "resources"):
        only = {"resources": published.resources[:2] if train else published.resources[2:]}
    one_split = type(published.__name__, (published,), only)  # the name is that of its folder
    return one_split(root, **({"train": train} if only else {"split": "train" if train else "test"}))


def _unpacked(root: Path, files: list[tuple[str, str]], temporary: Path) -> Path:
    """``root``, or ``temporary`` with what in ``root`` is only there packed; torchvision unpacks after downloads only.

    Raises:
        RuntimeError: if an archive is not the published one.
    """
    packed = [(root / file, md5) for file, md5 in files if file.endswith(".gz")]
    if all(path.with_suffix("").is_file() for path, _ in packed):
        return root
    from torchvision.datasets.utils import extract_archive

    for path, md5 in packed:
        if _md5(path) != md5:
            raise RuntimeError(f"its MD5 is not {md5}")
        folder = temporary / path.parent.relative_to(root)
        folder.mkdir(parents=True, exist_ok=True)
        extract_archive(str(path), str(folder))
    return temporary


def _images(pixels: Any) -> Tensor:
    """Torchvision's pixels, [N, H, W], [N, H, W, 3] or [N, 3, H, W], as [N, C, H, W]."""
    images = torch.as_tensor(np.ascontiguousarray(pixels))
    if images.ndim == 3:
        return images[:, None]
    return images if images.shape[1] == 3 else images.permute(0, 3, 1, 2).contiguous()


def _md5(path: Path) -> str:
    from torchvision.datasets.utils import calculate_md5

    return str(calculate_md5(str(path)))


def _download(name: str, source: str, train: bool) -> None:
    """Let torchvision download into a folder beside the cache's, and move in what is complete."""
    root, before = roots()[-1], socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    published = _class(source)
    split = {"split": "train" if train else "test"} if hasattr(published, "split_list") else {}
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            published(temporary, download=True, **split)
            for file in [path for path in Path(temporary).rglob("*") if path.is_file()]:
                place = root / file.relative_to(temporary)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
    except (OSError, RuntimeError) as error:
        missing = next((file for file, _ in files_of(source, train) if not _found(root / file)), "its files")
        reason = (str(error) or type(error).__name__).strip().splitlines()[-1]
        raise SpecError(
            f"data = '{name}': no {missing} in {' and '.join(map(str, roots()))}, and it cannot be downloaded "
            f"({reason}); put torchvision's files into one of these folders, or set DFKD_DATA to the folder that has "
            "them"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
