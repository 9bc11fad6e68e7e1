"""One description of a run, every front end.

A *setting* is a dataclass field with a default, a help text, a range and a unit. From the same settings come the Python
constructor, the command line (tyro), the form, the papermill cell and the record in the run folder, and every value
enters through :func:`build`, which refuses what it does not know before any work starts.
"""

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable

T = TypeVar("T")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
"""How ranges are printed, so it is how numbers are typed: 1,000."""
TRUTHS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}
LONGEST_SHOWN = 200
_hints = functools.lru_cache(typing.get_type_hints)  # a form asks thousands of times, and each reads a whole class


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    choices: Iterable[str] = (),
    of: str = "",
) -> Any:
    """A dataclass field that every front end can show and :func:`build` can check.

    ``low`` and ``high`` are inclusive; ``unit`` is printed behind them. Without the setting ``of`` it has no effect.
    """
    bounds = f"{_number(low)}..{_number(high)}" if low is not None and high is not None else ""
    note = " ".join(part for part in (bounds or (f"at least {_number(low)}" if low is not None else ""), unit) if part)
    facts = {"help": f"{help} [{note}]" if note else help, "text": help, "low": low, "high": high, "unit": unit}
    return field(default=default, metadata={**facts, "choices": tuple(choices), "of": of})


def settings_of(spec: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of ``spec`` by name, in order."""
    return {each.name: each for each in dataclasses.fields(spec)}


def setting_type(spec: type, name: str) -> type:
    """The type of one setting: bool, int, float, str or dict."""
    hint = _hints(spec)[name]
    return typing.get_origin(hint) or hint


def build(spec: type[T], values: Mapping[str, Any] | None = None, /, *, also: Iterable[str] = ()) -> T:
    """Make ``spec`` from ``values``, checked.

    Text is read as the setting's type ("3" for an int, "true" for a bool), because command lines and papermill hand
    over text. ``also`` names settings that are known elsewhere, for the hint only.

    Raises:
        SpecError: for an unknown name (with the nearest known one), a wrong type, or a value out of range.
    """
    values = dict(values or {})
    known = settings_of(spec)
    for name in values:
        if name not in known:
            raise SpecError(unknown(name, [*known, *also], f"setting of {spec.__name__}"))
    checked = {name: check(spec, name, value) for name, value in values.items()}
    return spec(**checked)


def unknown(name: str, known: Iterable[str], what: str, yours: str = "") -> str:
    """The sentence for a name nobody knows: the nearest known one, or all of them and how to make ``yours`` known."""
    known, name = list(known), str(name)  # a key of a dictionary may be anything
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    everything = f"known: {', '.join(known)}" + (f", and what {yours} makes known in this process" if yours else "")
    hint = f"did you mean '{near[0]}'?" if near else everything
    return f"'{printable(name)[:LONGEST_SHOWN]}' is not a {what}; {hint}"


def no_choice(value: str, choices: Iterable[str]) -> str:
    """The sentence for a value that is none of ``choices``: the nearest one, and all of them."""
    choices = list(choices)
    near = "".join(f"; did you mean '{each}'?" for each in difflib.get_close_matches(value, choices, n=1))
    return f"'{printable(value)[:LONGEST_SHOWN]}' is not a choice{near} (allowed: {', '.join(choices)})"


def check_new(name: str, known: Iterable[str], what: str) -> None:
    """Refuse to register ``name``.

    Raises:
        SpecError: if it is among ``known``, or cannot be a name.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise SpecError(f"{what} '{name}' is no name; allowed: letters, digits and underscores")
    if name in known:
        raise SpecError(f"{what} '{name}' is taken")


def check(spec: type, name: str, value: Any) -> Any:
    """``value`` as the type of setting ``name``, in its range.

    Raises:
        SpecError: naming the setting, the value, and what is allowed.
    """
    field_, wanted = settings_of(spec)[name], setting_type(spec, name)
    try:
        value = _convert(_switched(field_, value), wanted)
    except (TypeError, ValueError, SyntaxError, OverflowError, RecursionError):
        raise SpecError(f"{name} = {_short(value)} is not {_article(wanted)}; allowed: {allowed(spec, name)}") from None
    low, high = field_.metadata.get("low"), field_.metadata.get("high")
    choices = field_.metadata.get("choices")
    if wanted is float and not math.isfinite(value):
        raise SpecError(f"{name} = {value} is not finite; allowed: {allowed(spec, name)}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise SpecError(f"{name} = {value} is out of range; allowed: {allowed(spec, name)}")
    if choices and value not in choices:
        raise SpecError(f"{name} = {no_choice(str(value), choices)}")
    return value


def allowed(spec: type, name: str) -> str:
    """What setting ``name`` accepts, in words: type, range, unit."""
    facts, wanted = settings_of(spec)[name].metadata, setting_type(spec, name)
    low, high, unit, choices = (facts.get(key) for key in ("low", "high", "unit", "choices"))
    if choices:
        return " or ".join(map(repr, choices))
    bounds = " to ".join(_number(end) for end in (low, high) if end is not None)
    if low is not None and high is None:
        bounds = f"at least {_number(low)}"
    return " ".join(part for part in (_article(wanted), bounds, unit or "") if part)


def record(spec: Any) -> dict[str, Any]:
    """The settings of an instance as plain values, for the run folder."""
    return dataclasses.asdict(spec)


def parameters_cell(spec: type) -> str:
    """The papermill parameters cell of ``spec``: one typed literal a line, in the grammar papermill can inspect."""
    lines = []
    for name, field_ in settings_of(spec).items():
        factory = field_.default_factory
        default = field_.default if factory is MISSING else factory()
        value = json.dumps(default) if isinstance(default, str) else repr(default)
        lines.append(f"{name}: {setting_type(spec, name).__name__} = {value}  # {field_.metadata['help']}")
    return "\n".join(lines)


def _switched(field_: dataclasses.Field[Any], value: Any) -> Any:
    """True and False, also as text, for a setting that also knows "auto"."""
    if field_.metadata.get("choices") != SWITCH:
        return value
    meant = _read(value, bool) if isinstance(value, str) else value
    return {True: "yes", False: "no"}[meant] if isinstance(meant, bool) else value


def _convert(value: Any, wanted: type[Any]) -> Any:
    if isinstance(value, str) and wanted is not str:
        value = _read(value, wanted)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if wanted is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) is not (wanted is bool) or not isinstance(value, wanted):
        raise TypeError
    return wanted(value) if wanted is float else value  # NumPy's is a float too, and YAML knows it not


def _read(text: str, wanted: type) -> Any:
    if wanted is bool:
        return TRUTHS.get(text.lower(), text)
    if wanted is dict:
        return json.loads(text or "{}")
    if THOUSANDS.fullmatch(text.strip()):
        text = text.replace(",", "")
    return float(text) if wanted is int and not text.strip().lstrip("+-").isdigit() else wanted(text)


def _article(wanted: type | types.GenericAlias) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a dictionary"}
    return words[wanted]  # type: ignore[index]


def _number(value: float | None) -> str:
    return "" if value is None else f"{int(value):,}" if value == int(value) else f"{value:g}"


def _short(value: Any) -> str:
    """A value that somebody typed, or as much of it as a sentence holds."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def device_setting() -> Any:
    """The setting that says where to compute; ``mps`` is Apple's GPU."""
    return setting(
        "auto",
        "where to compute; auto takes a CUDA GPU if there is one; mps (Apple) is untested",
        choices=("auto", "cpu", "cuda", "mps"),
    )


SWITCH = ("auto", "yes", "no")
"""The choices of a setting that is decided for the user unless they do; True and False mean "yes" and "no"."""

PRESETS = ("auto", "paper", "digits", "small_gray", "svhn", "cifar", "cifar10", "cifar100", "imagenet", "segmentation")
"""Families of method settings; a method has "paper" and those it was fitted to. A data set names what suits it."""


@dataclass(frozen=True)
class RunSpec:
    """One run: what to distil, with what, for how long. ``settings`` are the method's own."""

    method: str = setting("ssd_kd", "method, one of: python -m dfkd_lab methods")
    settings: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "settings of the method that differ from the preset, by name"}
    )
    teacher: str = setting(
        "digits", "teacher: digits, scenes, FILE or NET@FILE, NET also torchvision:NAME, timm:NAME, FILE.py:NAME"
    )
    normalization: str = setting(
        "auto", "the teacher's input normalization; auto: as its checkpoint or the data set says"
    )
    student: str = setting(
        "convnet_8", "student network; also torchvision:NAME, timm:NAME, or FILE.py:NAME of your own"
    )
    data: str = setting(
        "digits", "evaluation set, or folder:PATH, or folder-pairs:PATH with masks; none runs without data"
    )
    preset: str = setting("auto", "settings to start from; auto takes what suits the evaluation set", choices=PRESETS)
    synthesizer: str = setting("", "synthesizer of another method: pixels, meta, ... or a method; empty keeps the own")
    memory: str = setting("", "memory of another method: ring, vae, ... or a method; its options follow a colon")
    view: str = setting(
        "", "view of another method on the images being synthesized: identity, crop_flip, roll, resized_crop"
    )
    student_view: str = setting("", "view of another method on the student's images: identity, crop_flip, resized_crop")
    generator: str = setting(
        "auto",
        "what draws images; auto: the field's; dcgan: DFAD's, 128 px; deep: FastDFKD's, 224 px",
        choices=("auto", "dcgan", "deep"),
    )
    optimizer: str = setting(
        "auto",
        "the student's; auto: the method's own, or Adam for a student without batch norm",
        choices=("auto", "sgd", "adam"),
    )
    cache_views: int = setting(
        0, "views of each stored image kept with the teacher's answer; 0 draws a view a read", low=0, high=1000
    )
    terms: str = setting("", "weights of losses to change or to add: name, equals sign, weight; several with commas")
    rounds: int = setting(0, "rounds of synthesis and distillation; 0 takes the preset's", low=0, high=10_000_000)
    minutes: float = setting(
        0.0,
        "lay out as many rounds as fit, at most the preset's; 0 does not",
        low=0,
        high=1_000_000,
        unit="min",
    )
    seed: int = setting(0, "seed of all random numbers of the run", low=0, high=2**31 - 1)
    device: str = device_setting()
    precision: str = setting(
        "auto",
        "of the networks' passes; auto takes bf16 where the device is made for it",
        choices=("auto", "fp32", "bf16"),
    )
    buffer_on: str = setting(
        "auto",
        "where a buffer's images are; auto: on the device if they fit",
        choices=("auto", "device", "host"),
    )
    deterministic: bool = setting(False, "on a CUDA GPU, slower kernels that give the same bits each time")
    compile: str = setting(
        "auto",
        "torch.compile: a minute or two at first, then faster steps; auto: long runs on a CUDA GPU",
        choices=SWITCH,
    )
    evaluate_every: int = setting(
        0, "rounds between evaluations; 0 keeps them below 2 % of the computing", low=0, high=10_000_000
    )
    out: str = setting("", "run folder: a name below runs/, or an absolute path; empty names it after the run")
    checkpoint_s: float = setting(
        10.0, "seconds between checkpoints; 0 writes one each round", low=0, high=86_400, unit="s"
    )
