"""Replace slots of a method from outside: ``compose("ssd_kd", memory="vae", terms="balance=5")``.

What fills a slot is named by the method it comes from, "pre_dfkd", or by a word for it, "vae". Settings of that method
follow a colon, "vae:replayed=64,z_steps=2"; the others come from its preset, or from the host where both have to agree
on them (``SHARED``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dfkd_lab import methods
from dfkd_lab.recipe import Lab, Method, Recipe, RecipeError
from dfkd_lab.spec import RunSpec, SpecError, build, knobs, unknown

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

TERMS = {
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
    "student_label": "cgdd",
    "attention": "cgdd",
    "cam": "spaceshipnet",
    "grad_cam": "spaceshipnet",
}
"""Terms that can be added by name alone, and the method they are taken from; of others write method.term."""

SHARED = ("batch", "capacity", "flip", "g_steps", "padding", "width", "z_dim")
"""Settings that a borrowed slot takes from its host."""

Maker = Callable[[Lab, Recipe], Any]


@dataclass(frozen=True)
class Composed:
    """A method some of whose slots are filled from elsewhere."""

    host: Method
    makers: dict[str, Maker]
    weights: dict[str, tuple[Method | None, float]]
    """Per term the method it is taken from if the host has none of that name, and its weight."""

    @property
    def reads_real_images(self) -> bool:
        """Whether the host is a reference recipe."""
        return bool(getattr(self.host, "reads_real_images", False))

    def compose(self, lab: Lab) -> Recipe:
        """The host's recipe with the slots replaced.

        Raises:
            RecipeError: if a term is unknown.
        """
        recipe = self.host.compose(lab)
        for slot, make in self.makers.items():
            setattr(recipe, slot, make(lab, recipe))
        if self.makers and (follow := getattr(recipe.memory, "follow", None)):
            follow(recipe.synthesizer)  # such a memory lives on the generator, and has to know the right one
        for name, (donor, weight) in self.weights.items():
            here = name in recipe.terms or name in recipe.student
            other = donor.compose(lab) if donor and not here else recipe
            if name not in other.terms and name not in other.student:
                raise RecipeError("terms: " + unknown(name, [*recipe.terms, *recipe.student, *TERMS], "term"))
            rows, found = (recipe.terms, other.terms) if name in other.terms else (recipe.student, other.student)
            rows[name] = dataclasses.replace(found[name], weight=weight)
        return recipe


def method_of(spec: RunSpec) -> Method:
    """The method a run is of, with its settings and replaced slots."""
    host: Method = build(methods.find(spec.method), spec.settings)
    return compose(host, preset=spec.preset, terms=spec.terms, **{slot: getattr(spec, slot) for slot in KINDS})


def replaced(spec: RunSpec) -> dict[str, str]:
    """The slots, and "terms", that ``spec`` replaces, as it says them."""
    return {name: value for name in (*KINDS, "terms") if (value := getattr(spec, name))}


def compose(
    method: Method | str,
    *,
    preset: str = "paper",
    terms: str | Mapping[str, float] = "",
    **slots: str | Maker,
) -> Method:
    """``method`` with slots replaced: synthesizer, memory, view, student_view.

    A slot is text (see above) or a function (lab, recipe) -> what fills it. ``terms`` gives terms another weight or
    adds them, "name=weight,..."; 0 takes one out. ``preset`` is that of the methods that are borrowed from, and of
    ``method`` if it is a name.

    Raises:
        SpecError: for a slot, method, setting or term that is unknown, or a value out of range.
    """
    host = _method(method, preset, {}) if isinstance(method, str) else method
    for slot in slots:
        if slot not in KINDS:
            raise SpecError(unknown(slot, KINDS, "slot"))
    makers = {slot: _maker(slot, filling, host, preset) for slot, filling in slots.items() if filling}
    weights = {
        name.rpartition(".")[2]: (_donor_of(name, preset), _weight(name, weight))
        for name, weight in (_pairs(terms, "terms") if isinstance(terms, str) else dict(terms)).items()
    }
    return Composed(host, makers, weights) if makers or weights else host


def borrow(slot: str, filling: str, host: Method, preset: str) -> Method:
    """The method that ``filling`` names for ``slot``, with its settings.

    Raises:
        SpecError: naming what is unknown or out of range.
    """
    word, _, options = filling.partition(":")
    name = KINDS[slot].get(word, word)
    if name not in methods.METHODS:
        raise SpecError(f"{slot}: " + unknown(word, [*KINDS[slot], *methods.METHODS], "filling or method"))
    known = knobs(methods.METHODS[name])
    shared = {each: getattr(host, each) for each in SHARED if hasattr(host, each) and each in known}
    return _method(name, preset, {**shared, **_pairs(options, slot)})


def _maker(slot: str, filling: str | Maker, host: Method, preset: str) -> Maker:
    if not isinstance(filling, str):
        return filling
    donor = borrow(slot, filling, host, preset)
    return lambda lab, recipe: getattr(donor.compose(lab), slot)


def _method(name: str, preset: str, settings: Mapping[str, Any]) -> Method:
    """A method with the settings of its preset, or the paper's if it has none of that name, and the given ones."""
    class_ = methods.find(name)
    base = {key: value for key, value in class_.presets.get(preset, {}).items() if key != "rounds"}
    made: Method = build(class_, {**base, **settings})
    return made


def _donor_of(name: str, preset: str) -> Method | None:
    """The method a term is taken from if the host has none of that name."""
    method, _, term = name.rpartition(".")
    method = method or TERMS.get(term, "")
    return _method(method, preset, {}) if method else None


def _pairs(text: str, what: str) -> dict[str, Any]:
    """What "a=1,b=2" says, as a dictionary."""
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise SpecError(f"{what}: '{part}' is not of the form name=value")
        found[name.strip()] = value.strip()
    return found


def _weight(name: str, value: Any) -> float:
    try:
        weight = float(value)
    except ValueError:
        raise SpecError(f"terms: {name} = {value!r} is not a number") from None
    if not 0 <= weight < float("inf"):
        raise SpecError(f"terms: {name} = {value} is out of range; allowed: a number at least 0")
    return weight
