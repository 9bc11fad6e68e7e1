"""Replace slots of a method from outside: ``compose("ssd_kd", memory="vae", terms="balance=5")``.

What fills a slot is named by the method it comes from, "pre_dfkd", or by a word for it, "vae". Settings of that method
follow a colon, "vae:replayed=64,z_steps=2"; the others come from its preset, or from the host where both have to agree
on them (``SHARED``).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dfkd_lab import methods
from dfkd_lab.engine.recipe import Method, MethodContext, Recipe
from dfkd_lab.errors import RecipeError, SpecError
from dfkd_lab.methods.checking import check_method
from dfkd_lab.methods.common.fillings import ResizedCropFilling
from dfkd_lab.spec import RunSpec, build, check_new, settings_of, unknown

KINDS: dict[str, dict[str, str]] = {
    "synthesizer": {
        "pixels": "deepinversion",
        "generator": "dfad",
        "conditional": "cgdd",
        "meta": "fast",
        "reset": "cmi",
        "noisy_labels": "nayer",
    },
    "memory": {
        "live": "dfad",
        "ring": "fast",
        "priority": "ssd_kd",
        "bank": "mb_dfkd",
        "vae": "pre_dfkd",
        "ema": "mad",
        "hidden_maps": "spaceshipnet",
    },
    "view": {"identity": "dfad", "crop_flip": "fast", "roll": "deepinversion"},
    "student_view": {"identity": "dfad", "crop_flip": "fast"},
}
"""Words for what fills a slot, and the method it is taken from."""

FILLINGS: dict[str, dict[str, type[Filling]]] = {
    "synthesizer": {},
    "memory": {},
    "view": {"resized_crop": ResizedCropFilling},
    "student_view": {"resized_crop": ResizedCropFilling},
}
"""What fills a slot without a method around it, by slot and word; see :func:`register_filling`."""

LOSSES = {
    "confidence": "dafl",
    "balance": "dafl",
    "activation": "dafl",
    "label": "deepinversion",
    "bn_gap": "deepinversion",
    "total_variation": "deepinversion",
    "l2": "deepinversion",
    "gap": "dfq",
    "contrast": "cmi",
    "kd": "fast",
    "l1": "dfad",
    "student_label": "alone",
    "attention": "zskt",
    "cam": "spaceshipnet",
    "grad_cam": "spaceshipnet",
}
"""Losses that can be added by name alone, and the method they are taken from; of others write method.loss.

One that composes for every teacher, where there is one: a lender that is refused has its own reason, not the loss's.
"""

SHARED = ("batch", "capacity", "flip", "g_steps", "padding", "width", "z_dim")
"""Settings that a borrowed slot takes from its host."""

MIRRORS = ("flip", "mirror")
"""Settings that are off for data that mean something else in a mirror."""

Maker = Callable[[MethodContext, Recipe], Any]


class Filling(Protocol):
    """What can be registered for a slot: a frozen dataclass of settings that makes what fills it."""

    def __call__(self, context: MethodContext, recipe: Recipe) -> Any:
        """What fills the slot of ``recipe``, as the host composed it."""


def register_filling(slot: str, name: str, filling: type[Filling]) -> None:
    """Make ``filling`` known as ``name`` for ``slot``, in this process, without a method around it.

    Afterwards ``compose(method, memory="name:setting=value")`` and ``plan(memory=...)`` take it, checked like a method.

    Args:
        slot: "synthesizer", "memory", "view" or "student_view".
        name: A word that no filling of this slot and no method has.
        filling: A frozen dataclass; its fields are settings (:func:`dfkd_lab.spec.setting`), and an instance is called
            with the context and the host's recipe.

    Raises:
        SpecError: if there is no such slot, or the name is taken or cannot be a name.
    """
    if slot not in KINDS:
        raise SpecError(unknown(slot, KINDS, "slot"))
    check_new(name, (*KINDS[slot], *FILLINGS[slot], *methods.METHODS), slot)
    FILLINGS[slot][name] = filling


def register_method(name: str, method: type[Any]) -> None:
    """Make a method of your own known as ``name``, in this process: ``plan(method=name)`` then checks and runs it.

    A run of it is resumed where it is registered again: ``Session(RunFolder(path).spec())``.

    Args:
        name: A word that no method and no filling of a slot has.
        method: A frozen dataclass of settings with ``compose``, ``citation``, ``certainty`` and ``presets``, among
            which is "paper" (:class:`~dfkd_lab.engine.recipe.Method`).

    Raises:
        SpecError: if the name is taken or cannot be a name, or the class lacks something, has a setting that every run
            has, or a preset with an unknown setting or a value out of range.
    """
    check_new(name, (*methods.METHODS, *(word for slot in KINDS for word in (*KINDS[slot], *FILLINGS[slot]))), "method")
    check_method(name, method)
    methods.METHODS[name] = method


@dataclass(frozen=True)
class Composed:
    """A method some of whose slots are filled from elsewhere."""

    host: Method
    makers: dict[str, Maker]
    weights: dict[str, tuple[Method | None, float]]
    """Per loss the method it is taken from if the host has none of that name, and its weight."""

    @property
    def reads_real_images(self) -> bool:
        """Whether the host is a reference."""
        return bool(getattr(self.host, "reads_real_images", False))

    def compose(self, context: MethodContext) -> Recipe:
        """The host's recipe with the slots replaced.

        Raises:
            RecipeError: if a loss is unknown.
        """
        recipe = self.host.compose(context)
        for slot, make in self.makers.items():
            setattr(recipe, slot, make(context, recipe))
        if self.makers and (follow := getattr(recipe.memory, "follow", None)):
            follow(recipe.synthesizer)  # such a memory lives on the generator, and has to know the right one
        for name, (donor, weight) in self.weights.items():
            other = donor.compose(context) if donor and name not in recipe.all_losses() else recipe
            if name not in other.all_losses():
                raise RecipeError("terms: " + unknown(name, [*recipe.all_losses(), *LOSSES], "loss"))
            is_students = name not in other.losses
            ours, theirs = (each.student_losses if is_students else each.losses for each in (recipe, other))
            ours[name] = dataclasses.replace(theirs[name], weight=weight)
        return recipe


def method_of(spec: RunSpec, mirrors: bool = True) -> Method:
    """The method a run is of, with its settings and replaced slots.

    ``mirrors`` says whether a mirror keeps what the images mean: if not, no view that is borrowed mirrors, unless it is
    said of it.
    """
    host: Method = build(methods.find(spec.method), spec.settings)
    slots = {slot: getattr(spec, slot) for slot in KINDS}
    return compose(host, preset=spec.preset, terms=spec.terms, mirrors=mirrors, **slots)


def replaced(spec: RunSpec) -> dict[str, str]:
    """The slots, and "terms", that ``spec`` replaces, as it says them; what its preset brings replaces nothing."""
    preset = getattr(methods.METHODS.get(spec.method), "presets", {}).get(spec.preset, {})
    said = {name: getattr(spec, name) for name in (*KINDS, "terms")}
    return {name: value for name, value in said.items() if value and value != preset.get(name)}


def compose(
    method: Method | str,
    *,
    preset: str = "paper",
    terms: str | Mapping[str, float] = "",
    mirrors: bool = True,
    **slots: str | Maker,
) -> Method:
    """``method`` with slots replaced: synthesizer, memory, view, student_view.

    A slot is text (see above) or a function (context, recipe) -> what fills it. ``terms`` gives losses another
    weight or adds them, "name=weight,..."; 0 takes one out. ``preset`` is that of the methods that are borrowed from,
    and of ``method`` if it is a name. Without ``mirrors`` no borrowed view mirrors, unless it is said of it.

    Raises:
        SpecError: for a slot, method, setting or loss that is unknown, or a value out of range.
    """
    host = _method(method, preset, {}) if isinstance(method, str) else method
    for slot in slots:
        if slot not in KINDS:
            raise SpecError(unknown(slot, KINDS, "slot"))
    makers = {}
    for slot, filling in slots.items():
        if filling:
            with _about(slot):
                makers[slot] = _maker(slot, filling, host, preset, mirrors)
    with _about("terms"):
        weights = {
            name.rpartition(".")[2]: (_donor_of(name, preset), _weight(name, weight))
            for name, weight in (_pairs(terms) if isinstance(terms, str) else dict(terms)).items()
        }
    return Composed(host, makers, weights) if makers or weights else host


@contextlib.contextmanager
def _about(setting: str) -> Iterator[None]:
    """A refusal names the setting that it is about."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{setting}: {error}") from None


def _maker(slot: str, filling: str | Maker, host: Method, preset: str, mirrors: bool) -> Maker:
    """What makes the filling that ``filling`` names: registered on its own, or borrowed from a method.

    Raises:
        SpecError: naming what is unknown or out of range.
    """
    if not isinstance(filling, str):
        return filling
    word, _, options = filling.partition(":")
    if registered := FILLINGS[slot].get(word):
        return build(registered, {**_shared(host, registered, mirrors), **_pairs(options)})
    name = KINDS[slot].get(word, word)
    if name not in methods.METHODS:
        known = [*KINDS[slot], *FILLINGS[slot], *methods.METHODS]
        raise SpecError(unknown(word, known, "filling or method"))
    given, allowed = _pairs(options), settings_of(methods.METHODS[name])
    if strange := next((each for each in given if each not in allowed), None):
        raise SpecError(unknown(strange, allowed, f"setting of {word}"))
    donor = _method(name, preset, {**_shared(host, methods.METHODS[name], mirrors), **given})
    return lambda context, recipe: getattr(donor.compose(context), slot)


def _shared(host: Method, borrower: type[Any], mirrors: bool) -> dict[str, Any]:
    """The settings of ``host`` that what fills a slot has to agree on, and that it does not mirror if that is wrong."""
    still = {} if mirrors else dict.fromkeys(MIRRORS, False)
    shared = {name: getattr(host, name) for name in SHARED if hasattr(host, name)}
    return {name: value for name, value in {**still, **shared}.items() if name in settings_of(borrower)}


def _method(name: str, preset: str, settings: Mapping[str, Any]) -> Method:
    """A method with the settings of its preset, or the paper's if it has none of that name, and the given ones."""
    class_ = methods.find(name)
    base = methods.own_settings(class_.presets.get(preset, {}))
    made: Method = build(class_, {**base, **settings})
    return made


def _donor_of(name: str, preset: str) -> Method | None:
    """The method a loss is taken from if the host has none of that name."""
    method, _, loss = name.rpartition(".")
    method = method or LOSSES.get(loss, "")
    return _method(method, preset, {}) if method else None


def _pairs(text: str) -> dict[str, Any]:
    """What "a=1,b=2" says, as a dictionary."""
    pairs: dict[str, Any] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise SpecError(f"'{part}' is not of the form name=value")
        if name.strip() in pairs:
            raise SpecError(f"{name.strip()} is said twice, {pairs[name.strip()]} and {value.strip()}")
        pairs[name.strip()] = value.strip()
    return pairs


def _weight(name: str, value: Any) -> float:
    try:
        weight = float(value)
    except ValueError:
        raise SpecError(f"{name} = {value!r} is not a number") from None
    if not 0 <= weight < float("inf"):
        raise SpecError(f"{name} = {value} is out of range; allowed: a number at least 0")
    return weight
