"""What commands share: flags from knobs (tyro), refused in one sentence, and an interrupt that first asks."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import tyro
from tqdm import tqdm

from dfkd_lab import methods
from dfkd_lab.runs import plan
from dfkd_lab.spec import RunSpec, SpecError, check, kind, knobs, record, unknown

T = TypeVar("T")


def parse(name: str, arguments: list[str]) -> dict[str, Any]:
    """The flags of ``run``; what is not given comes from the preset that the given ones choose.

    Raises:
        SpecError: for a flag that neither the run nor the method has.
    """
    arguments = [f"--data{word[6:]}" if word.split("=")[0] == "--eval" else word for word in arguments]
    flags = _flags(name)
    first = read(flags, arguments, name)
    chosen = {key: getattr(first, key) for key in ("preset", "data", "teacher")}
    resolved = record(plan(method=name, **chosen))
    defaults = {**resolved, **resolved["settings"]}
    filled = flags(**{key: defaults[key] for key in knobs(flags)})
    return dataclasses.asdict(tyro.cli(flags, args=arguments, default=filled, prog=f"dfkd_lab run {name}"))


def read(flags: type[T], arguments: list[str], name: str) -> T:
    """The dataclass of knobs ``flags`` from ``arguments``, without their --help; ``name`` is whose settings they are.

    Raises:
        SpecError: for a flag or a value that cannot be.
    """
    helpless = [word for word in arguments if word not in ("-h", "--help")]
    for word, value in pairwise(helpless):  # before tyro, whose message for a wrong type is a page
        name_ = word.removeprefix("--").replace("-", "_")
        if word.startswith("--") and name_ in knobs(flags) and kind(flags, name_) is not bool:
            check(flags, name_, value)
    first, rest = tyro.cli(flags, args=helpless, return_unknown_args=True)
    for word in rest:
        if word.startswith("-"):
            typed = word.lstrip("-").split("=")[0].replace("-", "_")
            raise SpecError(unknown(typed, knobs(flags), f"setting of {name}"))
    if rest:
        raise SpecError(f"'{rest[0]}' belongs to no setting; write --setting value")
    return first


def _flags(name: str) -> type[Any]:
    """A dataclass of the method's settings and the run's, for tyro."""
    method = methods.find(name)
    rows = [(each, kind(spec, each), _copy(spec, each)) for spec in (method, RunSpec) for each in knobs(spec)]
    rows = [row for row in rows if row[0] not in ("method", "settings")]
    made = dataclasses.make_dataclass(name, rows)
    made.__doc__ = f"{method.__doc__}\n\n{method.citation}; {method.certainty}"
    return made


def _copy(spec: type, name: str) -> Any:
    source = knobs(spec)[name]
    if source.default is dataclasses.MISSING:
        return dataclasses.field(default_factory=dict, metadata=source.metadata)
    return dataclasses.field(default=source.default, metadata=source.metadata)


@contextlib.contextmanager
def first_interrupt(stop: Callable[[], None], sentence: str) -> Iterator[None]:
    """The first interrupt says ``sentence`` and calls ``stop``, the second is one again."""
    before = signal.getsignal(signal.SIGINT)

    def heard(*_: object) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tqdm.write(sentence, file=sys.stderr)

    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
