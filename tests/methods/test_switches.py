"""Every switch of every method changes what it claims to change, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn

from dfkd_lab import methods
from dfkd_lab.methods import catalogue
from dfkd_lab.spec import setting_type, settings_of

VIEWS = {"view.flip", "student_view.flip"}
PHI = ("by_target", "classes", "difficulty", "diversity", "gamma")
CLAIMS: dict[tuple[str, str], set[str]] = {
    ("alone", "flip"): {"student_view.flip"},
    ("cgdd", "adversarial"): {"losses.gap.weight"},
    ("dfad_ar_vi", "target"): {"student_losses.interpolation.loss.target"},
    ("fast", "meta"): {"synthesizer.meta"},
    ("fssc", "squeeze"): {"synthesizer.net.ends"},
    ("kd", "flip"): {"student_view.flip"},
    ("mad", "conditional"): {
        "synthesizer.classes",
        "synthesizer.labelled",
        "synthesizer.net.embedding",
        "synthesizer.sample_labelled",
        *(f"losses.{name}{fact}" for name in ("label", "confidence") for fact in ("", ".weight", ".start", ".loss")),
    },
    ("mb_dfkd", "js"): {"losses.gap.loss.clipped.discrepancy.form"},
    ("noise", "pixels"): {"synthesizer.pixels"},
    ("pre_dfkd", "js"): {"losses.gap.loss.clipped.discrepancy.form"},
    ("pre_dfkd", "reconstruction"): {"memory.reconstruction"},
    ("ssd_kd", "diversity"): {"losses.label.loss.weight.diversity"},
    ("ssd_kd", "difficulty"): {"losses.label.loss.weight.difficulty"},
    ("ssd_kd", "modulate"): {"losses.label.loss.weight.by_target"},
    ("ssd_kd", "modulate_student"): {
        "student_losses.kd.loss",
        *(f"student_losses.kd.loss.loss{fact}" for fact in ("", ".temperature")),
        *(f"student_losses.kd.loss.weight{fact}" for fact in ("", *(f".{each}" for each in PHI))),
        "student_losses.kd.loss.temperature",
    },
    ("ssd_kd", "priority"): {"memory", "memory.alpha", "memory.beta", "memory.importance"},
    ("ssd_kd", "importance"): {"memory.importance"},
    **{(name, "decay"): {"schedule.milestones"} for name in ("dafl", "ddad", "dfad", "dfad_ar_vi")},
    **{(name, "evict"): {"memory.evict"} for name in ("fast", "ssd_kd")},
    ("deepinversion", "form"): {
        "losses.total_variation.loss.norm",
        *(f"synthesizer.{each}" for each in ("betas", "clip", "labels")),
    },
    ("deepinversion", "form=imagenet"): {
        "losses.total_variation.loss.norm",
        "losses.l2.loss.of_images",
        "synthesizer.betas",
    },
    ("deepinversion", "mirror"): {"view.flip"},
    ("deepinversion", "flip"): {"student_view.flip"},
    **{(name, "flip"): VIEWS for name in ("cmi", "fast", "fssc", "nayer", "spaceshipnet", "ssd_kd")},
}
"""The facts of the recipe that a switch changes."""


def switches() -> list[tuple[str, str]]:
    found = []
    for name, method in methods.METHODS.items():
        for setting, field in settings_of(method).items():
            if setting_type(method, setting) is bool or field.metadata["choices"]:
                found.append((name, setting))
    return found


def facts(thing: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a recipe is made of: types, and plain values found in attributes, parts and closures, by path."""
    thing = getattr(thing, "per_pixel", thing)  # what is averaged over pixels
    yield path, type(thing).__name__ if not callable(thing) else getattr(thing, "__qualname__", type(thing).__name__)
    inside = {key: value for key, value in getattr(thing, "__dict__", {}).items() if not key.startswith("_")}
    inside |= dict(thing.named_children()) if isinstance(thing, nn.Module) else {}
    if closure := getattr(thing, "__closure__", None):
        inside |= dict(zip(thing.__code__.co_freevars, (cell.cell_contents for cell in closure), strict=True))
    for key, value in inside.items():
        if isinstance(value, (bool, int, float, str, tuple)):
            yield f"{path}.{key}", value
        elif key in ("net", "loss", "code", "clipped", "discrepancy", "weight"):
            yield from facts(value, f"{path}.{key}")
        elif key == "embedding":
            yield f"{path}.{key}", type(value).__name__


def recipe_facts(name: str, **settings: Any) -> dict[str, Any]:
    class_ = methods.METHODS[name]
    preset = methods.own_settings(class_.presets["digits"])
    recipe = catalogue.recipe_of(class_(**{**preset, **settings}))
    found: dict[str, Any] = {}
    for slot in ("synthesizer", "memory", "view", "student_view", "schedule"):
        found |= dict(facts(getattr(recipe, slot), slot))
    for side in ("losses", "student_losses"):
        for term, row in getattr(recipe, side).items():
            found |= dict(facts(row, f"{side}.{term}"))
    return found


@pytest.mark.parametrize(("name", "switch"), switches())
def test_a_switch_changes_what_it_claims_and_nothing_else(name: str, switch: str) -> None:
    class_ = methods.METHODS[name]
    now = {**vars(class_()), **class_.presets["digits"]}[switch]
    choices = settings_of(class_)[switch].metadata["choices"] or (True, False)
    before = recipe_facts(name, **{switch: now})
    for other in set(choices) - {now}:
        after = recipe_facts(name, **{switch: other})
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        claimed = CLAIMS.get((name, switch), set())
        assert changed == CLAIMS.get((name, f"{switch}={other}"), claimed)
