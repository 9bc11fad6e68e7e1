"""What commands share: flags from settings (tyro), refused in one sentence, and an interrupt that first only stops."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeVar

import tyro
from tqdm import tqdm

from dfkd_lab import methods
from dfkd_lab.errors import SpecError
from dfkd_lab.runs.planning import plan
from dfkd_lab.spec import SWITCH, RunSpec, allowed, check, record, setting_type, settings_of, unknown

T = TypeVar("T")


def parse(name: str, arguments: list[str]) -> dict[str, Any]:
    """The flags of ``run`` that were given; what was not comes from the preset that those choose.

    Raises:
        SpecError: for a flag that neither the run nor the method has.
    """
    flags = _flags(name)
    arguments = ["--data" if word == "--eval" else word for word in _apart(flags, arguments)]
    arguments = switched(flags, arguments)
    values = read(flags, arguments, name)
    given = {each: getattr(values, each) for each in _names(flags, arguments)}
    if not {"-h", "--help"}.isdisjoint(arguments):
        resolved = record(plan(method=name, **given).spec)
        defaults = {**resolved, **resolved["settings"]}
        show_help(flags, f"run {name}", {key: defaults[key] for key in settings_of(flags)})
    return given


def show_help(flags: type[Any], command: str, values: Mapping[str, Any] | None = None) -> None:
    """Print every setting with its range or its choices, and its default or what ``values`` has, and end."""
    rows = []
    for name, field in settings_of(flags).items():
        choices = ", ".join(each or "''" for each in field.metadata["choices"])
        help_ = f"{field.metadata['help']} [{choices}]" if choices else field.metadata["help"]
        default = values[name] if values else field.default
        rows.append((name, setting_type(flags, name), dataclasses.field(default=default, metadata={"help": help_})))
    shown = dataclasses.make_dataclass(flags.__name__, rows, namespace={"__doc__": flags.__doc__})
    tyro.cli(shown, args=["--help"], prog=f"dfkd_lab {command}")


def switched(flags: type[Any], arguments: list[str]) -> list[str]:
    """``arguments`` with --name and --no-name, of a setting that also knows "auto", as --name yes and --name no.

    Raises:
        SpecError: for a --no-name with a value.
    """
    names = [each for each, field in settings_of(flags).items() if field.metadata.get("choices") == SWITCH]
    result: list[str] = []
    for word, after in pairwise([*arguments, "--"]):
        bare = word.removeprefix("--").removeprefix("no-").replace("-", "_")
        is_switch = word.startswith("--") and bare in names and (word.startswith("--no-") or after.startswith("-"))
        if is_switch and not after.startswith("-"):
            raise SpecError(f"{word} takes no value, not {after!r}; allowed: {word}, or --{bare} {'|'.join(SWITCH)}")
        value = "no" if word.startswith("--no-") else "yes"
        result += [f"--{bare.replace('_', '-')}", value] if is_switch else [word]
    return result


def _apart(flags: type[Any], arguments: list[str]) -> list[str]:
    """--name=value as two words; of a setting that is true or false, --name=false as --no-name."""
    truths = [each for each in settings_of(flags) if setting_type(flags, each) is bool]
    words: list[str] = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if not (equals and word.startswith("--")):
            words.append(word)
        elif name[2:].replace("-", "_") in truths and value.lower() in ("true", "false"):
            words.append(name if value.lower() == "true" else name.replace("--", "--no-", 1))
        else:
            words += [name, value]
    return words


def read(flags: type[T], arguments: list[str], name: str) -> T:
    """The dataclass of settings ``flags`` from ``arguments``, without their --help; ``name`` is whose they are.

    Raises:
        SpecError: for a flag or a value that cannot be.
    """
    words = _checked(flags, [word for word in _apart(flags, arguments) if word not in ("-h", "--help")])
    own = [word for word in words if not word.startswith("--tyro")]  # flags of tyro's own, which write files
    try:
        first, rest = tyro.cli(flags, args=own, return_unknown_args=True, console_outputs=False)
    except SystemExit:  # what it has said is a page
        raise SpecError(f"{name} cannot be called with: {' '.join(arguments)}; see {name} --help") from None
    for word in (*rest, *(word for word in words if word not in own)):
        if word.startswith("-"):
            typed = word.lstrip("-").replace("-", "_")
            raise SpecError(unknown(typed, settings_of(flags), f"setting of {name}"))
    if rest:
        raise SpecError(f"'{rest[0]}' belongs to no setting; write --setting value")
    return first


def refuse_twice(names: Iterable[str]) -> None:
    """Refuse settings of which one would be dropped.

    Raises:
        SpecError: naming the first that is there twice.
    """
    given = list(names)
    if twice := [name for place, name in enumerate(given) if name in given[:place]]:
        raise SpecError(f"{twice[0]} is given twice; give it once")


def _checked(flags: type[Any], words: list[str]) -> list[str]:
    """``words`` with every value in its range and as tyro reads it, before tyro, whose message is a page.

    Raises:
        SpecError: for a value that cannot be, or none, or one of a setting that is true or false; or for a setting that
            is given twice.
    """
    checked: list[str] = []
    refuse_twice(_names(flags, words))
    left = iter(pairwise([*words, "--"]))
    for word, value in left:
        name = _named(flags, word)
        if not name:
            checked.append(word)
        elif setting_type(flags, name) is bool:
            if not value.startswith("-"):
                flag = name.replace("_", "-")
                raise SpecError(f"{word} takes no value, not {value!r}; allowed: --{flag} or --no-{flag}")
            checked.append(word)
        else:
            next(left, None)
            if value.startswith("--"):
                raise SpecError(f"{word} needs a value; allowed: {allowed(flags, name)}")
            checked += [word, str(check(flags, name, value))]  # which also reads 1,000 and 1e3
    return checked


def _names(flags: type[Any], words: list[str]) -> list[str]:
    """The settings that ``words`` name, one as often as it is named."""
    return [name for word in words if (name := _named(flags, word))]


def _named(flags: type[Any], word: str) -> str:
    """The setting that ``word`` names, as --name or as --no-name; empty if it names none."""
    name = word.removeprefix("--").replace("-", "_")
    known = (each for each in (name, name.removeprefix("no_")) if each in settings_of(flags))
    return next(known, "") if word.startswith("--") else ""


def _flags(name: str) -> type[Any]:
    """A dataclass of the method's settings and the run's, for tyro."""
    method = methods.find(name)
    rows = [
        (each, setting_type(spec, each), _copy(spec, each)) for spec in (method, RunSpec) for each in settings_of(spec)
    ]
    rows = [row for row in rows if row[0] not in ("method", "settings")]
    made = dataclasses.make_dataclass(name, rows)
    made.__doc__ = f"{method.__doc__}\n\n{method.citation}; {method.certainty}"
    return made


def _copy(spec: type, name: str) -> Any:
    source = settings_of(spec)[name]
    if source.default is dataclasses.MISSING:
        return dataclasses.field(default_factory=dict, metadata=source.metadata)
    return dataclasses.field(default=source.default, metadata=source.metadata)


@contextlib.contextmanager
def first_interrupt(stop: Callable[[], None], sentence: str) -> Iterator[None]:
    """The first interrupt says ``sentence`` and calls ``stop``, the second is one again."""
    before = signal.getsignal(signal.SIGINT)

    def handler(*_: object) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tqdm.write(sentence, file=sys.stderr)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
