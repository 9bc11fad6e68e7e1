"""Files of ``torch.save``, zip archives and older ones, read as data; no size in them is believed."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfkd_lab.errors import SpecError
from dfkd_lab.teachers.pickle_reader import OddTensor, PickleReader, StoredTensor

MOST_AT_ONCE = 4 << 20
"""Bytes that one size in a file makes us read: of a zip's directory, or of a value in an old file's pickle."""
MOST_DIMENSIONS = 8
MAGIC = 0x1950A86A20F9469CFC6C
"""What files of torch.save up to 1.5 begin with."""


class BoundedFile(io.BufferedReader):
    """A file that gives no more at once than any honest file asks for.

    Raises:
        SpecError: if more is asked for.
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self.path = path
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.size - self.tell() if size is None or size < 0 else size
        if wanted > MOST_AT_ONCE:
            raise SpecError(f"{self.path} asks to be read {wanted} bytes at once; allowed: {MOST_AT_ONCE}")
        return super().read(wanted)

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(MOST_AT_ONCE if size is None or size < 0 else size)


class TensorReader:
    """``reader(stored, name)`` gives a tensor; each storage is read once, and only if a tensor of it is asked for."""

    def __init__(self, path: Path, read: Callable[[str], bytearray]):
        self.path, self.read = path, read
        self.bytes: dict[str, Tensor] = {}

    def __call__(self, stored: StoredTensor | OddTensor, name: str) -> Tensor:
        """The tensor called ``name``, a view of what is stored.

        Raises:
            SpecError: naming it, if it is not plain numbers, each with its own place in what is stored.
        """
        if isinstance(stored, OddTensor):
            raise SpecError(f"{self.path}: '{name}' is a {stored.kind} tensor; allowed: dense tensors of numbers")
        if stored.dtype is None or stored.storage.dtype is None:
            raise SpecError(
                f"{self.path}: '{name}' has numbers of a kind that is not read; allowed: float16 to float64"
            )
        size, stride, offset = stored.size, stored.stride, stored.offset
        if not (_are_sizes(size) and _are_sizes(stride) and _are_sizes((offset,)) and len(size) == len(stride)):
            raise SpecError(f"{self.path}: '{name}' has no shape; allowed: up to {MOST_DIMENSIONS} sizes and strides")
        key = stored.storage.key
        if key not in self.bytes:
            raw = self.read(key)
            self.bytes[key] = torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
        raw_bytes = self.bytes[key]
        numbers = raw_bytes[: len(raw_bytes) // stored.dtype.itemsize * stored.dtype.itemsize].view(stored.dtype)
        if overlap(size, stride) or offset + _extent(size, stride) > len(numbers):
            raise SpecError(
                f"{self.path}: '{name}' has the shape {list(size)} over {len(numbers)} stored numbers; allowed: a "
                "place of its own for each value"
            )
        return numbers.as_strided(size, stride, offset)


def overlap(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether two values of such a tensor may have one place."""
    reach = 0
    for step, count in sorted((step, count) for step, count in zip(stride, size, strict=True) if count > 1):
        if step <= reach:
            return True
        reach += step * (count - 1)
    return False


def _extent(size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Places from the first value to behind the last."""
    return 1 + sum(step * (count - 1) for step, count in zip(stride, size, strict=True)) if 0 not in size else 0


def _are_sizes(given: Any) -> bool:
    return (
        isinstance(given, tuple)
        and len(given) <= MOST_DIMENSIONS
        and all(type(each) is int and 0 <= each < 1 << 62 for each in given)
    )


def read_archive(archive: zipfile.ZipFile, file: BoundedFile) -> tuple[Any, TensorReader]:
    """What is in a zip archive of ``torch.save``, and the reader of its tensors.

    Raises:
        SpecError: if what is packed is more than the file holds, or its pickle is refused.
        Exception: of many kinds, if it is damaged.
    """
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickle = next(name for name in entries if name.rpartition("/")[2] == "data.pkl")
    folder = pickle.removesuffix("data.pkl")
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values())
    if packed or sum(entry.file_size for entry in archive.infolist()) > file.size:
        raise SpecError(
            f"{file.path} is packed: its entries are larger than the file, or compressed, as torch.save writes none; "
            "unpack it, and load and save it again with torch"
        )

    def read(name: str) -> bytearray:
        entry = entries[name]
        content = bytearray(entry.file_size)
        with archive.open(entry) as stream, memoryview(content) as view:
            for start in range(0, len(content), MOST_AT_ONCE):
                part = view[start : start + MOST_AT_ONCE]
                part[:] = stream.read(len(part))
        return content

    order = bytes(read(f"{folder}byteorder")) if f"{folder}byteorder" in entries else b"little"
    if order != b"little":
        raise SpecError(f"{file.path} was written on a big-endian machine; load and save it there as safetensors")
    content = PickleReader(io.BytesIO(read(pickle)), str(file.path)).read()
    return content, TensorReader(file.path, lambda key: read(f"{folder}data/{key}"))


def read_legacy(file: BoundedFile) -> tuple[Any, TensorReader] | None:
    """As :func:`read_archive`, of the format of torch up to 1.5: pickles, then storages. None if it is another pickle.

    Raises:
        SpecError: if its pickle is refused.
        Exception: of many kinds, if it is damaged.
    """
    reader = PickleReader(file, str(file.path))
    if reader.read() != MAGIC:
        return None
    reader.read()  # the protocol
    facts = reader.read()
    if not facts["little_endian"]:
        raise SpecError(f"{file.path} was written on a big-endian machine; load and save it there as safetensors")
    content, keys = reader.read(), reader.read()
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage = reader.storages[key]
        if storage.dtype is None:
            raise SpecError(f"{file.path} holds numbers of a kind that is not read; allowed: float16 to float64")
        (count,) = struct.unpack("<q", file.read(8))
        places[key] = (file.tell(), count * storage.dtype.itemsize)
        if count < 0 or sum(places[key]) > file.size:
            raise ValueError("it ends within a tensor")
        file.seek(sum(places[key]))

    def read(key: str) -> bytearray:
        start, length = places[key]
        content = bytearray(length)
        file.seek(start)
        file.readinto(content)
        return content

    return content, TensorReader(file.path, read)
