"""Files of ours that are read back: whoever wrote them since, what comes out is of the shape that it must have.

A shape is a type (``float`` takes whole numbers too, none of them takes true or false), None, a tuple of alternatives,
a list with the shape of each item, or :class:`Fields`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from dfkd_lab.errors import DamagedFile

MOST_BYTES = 64 * 2**20
"""Of a file that is read whole."""
LARGEST = 2**63
"""Bound of a number: beyond it, a whole number is no float."""


@dataclass(frozen=True)
class Fields:
    """The shape of an object: fields it must have, fields it may have, and the shape of all others if they have one."""

    needed: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    others: Any = object

    @cached_property
    def named(self) -> dict[str, Any]:
        """Those that it must and those that it may have."""
        return {**self.needed, **self.known}


def read_json(path: Path, shape: Fields, cure: str) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no such file.

    Raises:
        DamagedFile: if it cannot be read, or is of another shape; ``cure`` says what to do then.
    """
    text = read_text(path, cure)
    return {} if text is None else parsed(text, shape, path, cure)


def read_text(path: Path, cure: str, most: int = MOST_BYTES) -> str | None:
    """The text in a file of up to ``most`` bytes; None if there is no such file.

    Raises:
        DamagedFile: if it cannot be read.
    """
    if (file := opened(path, cure)) is None:
        return None
    try:
        with file:
            content = file.read(most + 1)
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror}); {cure}") from None
    if len(content) > most:
        raise DamagedFile(f"{path} is damaged (more than {most:,} bytes); {cure}")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise DamagedFile(f"{path} is damaged (its bytes are no text); {cure}") from None


def opened(path: Path, cure: str) -> BinaryIO | None:
    """The file, to read its bytes; None if there is none. A pipe or a device, which may never end, is no file.

    Raises:
        DamagedFile: if it cannot be read; ``cure`` says what to do then.
    """
    try:
        if path.is_file():
            return path.open("rb")
        if path.exists():
            raise DamagedFile(f"{path} is no file; {cure}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror}); {cure}") from None
    return None


def parsed(text: str | bytes, shape: Fields, where: object, cure: str) -> dict[str, Any]:
    """The object that JSON ``text`` holds; ``where`` names its place.

    Raises:
        DamagedFile: if there is none, or of another shape.
    """
    try:
        value = json.loads(text)
        reason = misfit(value, shape) or _half_a_letter(text, value)
    except (ValueError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0][:120]
        reason = f"no JSON: {detail}"
    if reason:
        raise DamagedFile(f"{where} is damaged ({reason}); {cure}")
    return dict(value)


def _half_a_letter(text: str | bytes, value: Any) -> str:
    """Why a text in ``value`` can be written nowhere, as JSON allows halves of letters; empty if all can."""
    if "\\u" not in (text if isinstance(text, str) else text.decode(errors="replace")):
        return ""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "a text in it has half of a letter"
    return ""


def misfit(value: Any, shape: Any, name: str = "") -> str:
    """Why ``value`` is not of ``shape``; empty if it is."""
    if isinstance(shape, tuple):
        return _misfit_of_any(value, shape, name)
    if isinstance(shape, Fields):
        return _misfit_of_fields(value, shape, name) if isinstance(value, dict) else _other(name, value, "an object")
    if isinstance(shape, list):
        return _misfit_of_items(value, shape[0], name) if isinstance(value, list) else _other(name, value, "a list")
    if shape is object or _is_number(value, shape):
        return ""
    if shape is None:
        return "" if value is None else _other(name, value, "null")
    if not (isinstance(value, shape) and isinstance(value, bool) is (shape is bool)) and not _is_whole(value, shape):
        return _other(
            name, value, {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[shape]
        )
    return f"{name} is out of range" if shape in (int, float) else ""


def _misfit_of_any(value: Any, shapes: tuple[Any, ...], name: str) -> str:
    if value is None and None in shapes:
        return ""
    reason = ""
    for shape in shapes:
        if not (reason := misfit(value, shape, name)):
            return ""
    return reason


def _misfit_of_items(value: list[Any], shape: Any, name: str) -> str:
    for number, each in enumerate(value):
        if not _is_number(each, shape) and (reason := misfit(each, shape, f"{name}[{number}]")):
            return reason
    return ""


def _misfit_of_fields(value: Mapping[Any, Any], shape: Fields, name: str) -> str:
    for each in shape.needed:
        if each not in value:
            return f"{name + ' has' if name else 'it has'} no {each}"
    for key, each in value.items():
        inner = shape.named.get(key, shape.others)
        if inner is object or _is_number(each, inner):
            continue
        if reason := misfit(each, inner, f"{name}.{key}" if name else key):
            return reason
    return ""


def _is_number(value: Any, shape: Any) -> bool:
    """Whether this is a number where one belongs: the quick way, for a log has many thousands of them."""
    kind = type(value)
    wanted = shape is float or (shape is int and kind is int)
    return wanted and (kind is float or kind is int) and -LARGEST < value < LARGEST


def _is_whole(value: Any, shape: Any) -> bool:
    return shape is float and type(value) is int


def _other(name: str, value: Any, wanted: str) -> str:
    shown = json.dumps(value)
    return f"{name or 'it'} is {shown if len(shown) < 40 else shown[:37] + '...'}, not {wanted}"
