"""Networks of a user's own Python file, "FILE.py:NAME".

Code is executed only by :func:`trust`, which is called for what a person typed, never for what a run folder or a
checkpoint says. Afterwards the file's networks can be made by name in this process, as those of ``CLASSIFIERS`` are.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dfkd_lab.errors import SpecError
from dfkd_lab.spec import unknown
from dfkd_lab.system.faults import THEIRS, article, reason
from dfkd_lab.system.files import no_file
from dfkd_lab.system.rng import preserved

CALLED = "NAME(channels=..., classes=...), each given if it has a parameter of that name; any other needs a default"
"""How a network is made, for whoever wrote one that cannot be made so."""


@dataclass(frozen=True)
class Code:
    """A Python file as it was read once: its text, and the module that executing this text gave."""

    path: Path
    text: bytes
    module: ModuleType

    @property
    def sha256(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.text).hexdigest()


DIGESTS = "sha256:"
"""How a list of texts begins that may be executed: their SHA-256, with commas between."""
TRUSTED: dict[Path, Code] = {}
"""What a person had executed in this process, by absolute path."""


def names_file(name: str) -> bool:
    """Whether ``name`` names a Python file, be it without the NAME behind it."""
    file, _, attribute = name.rpartition(":")
    return name.endswith(".py") or (file.endswith(".py") and not {"/", "\\"} & set(attribute))


def parse(name: str) -> tuple[Path, str]:
    r"""The absolute path and the NAME of "FILE.py:NAME", split at the last colon, as "C:\net.py:Net" has two.

    Raises:
        SpecError: if it names nothing in the file.
    """
    file, _, attribute = name.rpartition(":")
    if not file.endswith(".py") or not attribute.isidentifier() or not name.isprintable():
        raise SpecError(f"{name!r} names nothing in a file; write FILE.py:NAME, NAME being a class or function in it")
    return Path(file).expanduser().resolve(), attribute


def absolute(name: str) -> str:
    """``name`` with the absolute path of its file, so that every process finds the same.

    Raises:
        SpecError: as :func:`parse`.
    """
    path, attribute = parse(name)
    return f"{path}:{attribute}"


def short(name: str) -> str:
    """``name`` without the folders of its file, for a record; the name of any other network as it is."""
    if not names_file(name):
        return name
    path, attribute = parse(name)
    return f"{path.name}:{attribute}"


def identity(name: str) -> str:
    """What stands for a network wherever its code counts: of a file its short name and its SHA-256, else its name.

    Raises:
        SpecError: if the file was not executed here.
    """
    return f"{short(name)} of sha256 {_code(name).sha256}" if names_file(name) else name


def read(name: str) -> bytes:
    """The text of the file that ``name`` names; nothing of it is executed.

    Raises:
        SpecError: if there is no such file, or it cannot be read.
    """
    path, _ = parse(name)
    try:
        if path.is_file():
            return path.read_bytes()
    except OSError as error:
        raise SpecError(f"'{short(name)}': cannot read {path}: {error.strerror}") from None
    raise SpecError(f"'{short(name)}': {no_file(path)}")


def trusted(name: str) -> Code | None:
    """The code of the file that ``name`` names, if a person had it executed in this process."""
    return TRUSTED.get(parse(name)[0])


def trust(name: str, text: bytes | None = None) -> Code:
    """Execute the file that ``name`` names, unless this very text was executed before.

    Args:
        name: FILE.py:NAME, typed by a person.
        text: Takes the place of what the file holds now.

    Raises:
        SpecError: if there is no such file, it cannot be imported, or has no such class or function.
    """
    path, _ = parse(name)
    text = read(name) if text is None else text
    if (known := TRUSTED.get(path)) is None or known.text != text:
        TRUSTED[path] = Code(path, text, _executed(path, text))
    check(name)
    return TRUSTED[path]


def check(name: str) -> None:
    """Refuse a name that no class or function of a file executed here has, or one that cannot be called.

    Raises:
        SpecError: naming the nearest one, or what it would need.
    """
    _arguments(name, _constructor(name), 1, 1)


def build(name: str, channels: int, classes: int) -> nn.Module:
    """A fresh network: ``CALLED`` says how it is made.

    Raises:
        SpecError: if its file was not executed here, it cannot be made, or is no module.
    """
    make = _constructor(name)
    try:
        made = make(**_arguments(name, make, channels, classes))
    except SpecError:
        raise
    except THEIRS as error:
        raise SpecError(f"'{short(name)}' cannot be made ({reason(error, parse(name)[0])})") from None
    if not isinstance(made, nn.Module):
        raise SpecError(f"'{short(name)}' gives {article(made)}; allowed: an nn.Module")
    return made


def _code(name: str) -> Code:
    if (code := trusted(name)) is None:
        raise SpecError(
            f"'{short(name)}' is a Python file that nobody asked to execute in this process; name it where a run is "
            "planned, as in plan(student=...), or call dfkd_lab.nets.trust(...)"
        )
    return code


def _constructor(name: str) -> Callable[..., Any]:
    code, (path, attribute) = _code(name), parse(name)
    values = vars(code.module)
    if attribute not in values:
        own = [each for each in values if getattr(values[each], "__module__", "") == code.module.__name__]
        known = [each for each in own if callable(values[each]) and not each.startswith("_")]
        raise SpecError(unknown(attribute, known, f"class or function in {path.name}"))
    value = values[attribute]
    if isinstance(value, nn.Module) or not callable(value):
        raise SpecError(f"'{short(name)}' is {article(value)}; allowed: a class or function that makes a network")
    made: Callable[..., Any] = value
    return made


def _arguments(name: str, make: Callable[..., Any], channels: int, classes: int) -> dict[str, int]:
    """What of channels and classes ``make`` takes."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # code in C does not say
        return {}
    offered = {"channels": channels, "classes": classes}
    needed = [each for each in parameters if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL,
              each.VAR_KEYWORD)]  # fmt: skip
    if missing := [each.name for each in needed if each.name not in offered]:
        raise SpecError(f"'{short(name)}' needs {', '.join(missing)}; it is called as {CALLED}")
    return {each.name: offered[each.name] for each in parameters if each.name in offered}


def _executed(path: Path, text: bytes) -> ModuleType:
    """A module of this text, under a name that no other file has; ``sys.path`` is afterwards as it was."""
    mark = hashlib.sha256(bytes(path) + b"\0" + text).hexdigest()[:16]
    module = ModuleType(f"{path.stem}_{mark}")
    module.__file__ = str(path)
    before = list(sys.path)
    sys.modules[module.__name__] = module  # a dataclass looks there for the types of its fields
    try:
        with preserved():
            exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException as error:
        del sys.modules[module.__name__]
        if not isinstance(error, THEIRS):
            raise
        raise SpecError(f"{path.name} cannot be imported ({reason(error, path)})") from None
    finally:
        sys.path[:] = before
    return module


def file_of(name: str) -> Path | None:
    """The file of a network that is from one."""
    return parse(name)[0] if names_file(name) else None
