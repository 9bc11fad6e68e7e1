"""What there is to choose from, read off the method files and their recipes; nothing is written down twice."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch

from dfkd_lab import methods, nets
from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.observe import Classifier, Frozen, Observer
from dfkd_lab.recipe import Lab, Method, Recipe, Weighted
from dfkd_lab.spec import build, knobs


def describe(name: str) -> dict[str, Any]:
    """One method: paper, certainty, slots, settings with their ranges, presets."""
    method = methods.find(name)
    module = inspect.getdoc(sys.modules[method.__module__]) or ""
    return {
        "name": name,
        "paper": module.split("\n")[0],
        "summary": (inspect.getdoc(method) or "").split("\n")[0],
        "citation": method.citation,
        "certainty": method.certainty,
        "remarks": remarks(module, method),
        "slots": slots(compose_on_digits(name)),
        "settings": {
            each.name: {"default": each.default, **{key: each.metadata[key] for key in ("text", "low", "high", "unit")}}
            for each in knobs(method).values()
        },
        "presets": method.presets,
    }


def remarks(module: str, method: type[Any]) -> list[str]:
    """The ``Differs:`` and ``Inferred:`` paragraphs of a method file."""
    text = [module, inspect.getdoc(method) or "", inspect.getdoc(method.compose) or ""]
    paragraphs = [" ".join(each.split()) for part in text for each in part.split("\n\n")]
    found = []
    for paragraph in paragraphs:
        for mark in ("Differs:", "Inferred:"):
            if mark in paragraph:
                found.append(mark + paragraph.split(mark, 1)[1])
    return found


def compose_on_digits(name: str) -> Recipe:
    """The recipe of a method with its digits preset (or its defaults), on an untrained teacher."""
    method = methods.find(name)
    preset = {key: value for key, value in method.presets.get("digits", {}).items() if key != "rounds"}
    return recipe_of(build(method, preset))


def recipe_of(method: Method) -> Recipe:
    """The recipe of ``method`` on untrained networks for digits: what it is made of, before any teacher is there."""
    images = Batch(torch.zeros(10, 1, 16, 16), torch.arange(10))
    real = images if getattr(method, "reads_real_images", False) else None
    with torch.random.fork_rng(devices=[]):
        teacher = Frozen(nets.classifier("convnet_32", 1, 10), (0.5,), (0.5,))
        student = Classifier(nets.classifier("convnet_8", 1, 10), (0.5,), (0.5,))
        lab = Lab(teacher, Observer(teacher, student), shape=(1, 16, 16), classes=10, rounds=100, images=real)
        return method.compose(lab)


def slots(recipe: Recipe) -> dict[str, str]:
    """What fills each of the six slots, in words."""
    schedule = recipe.schedule
    warm_up = f", after {schedule.warm_up} rounds of warm-up" if schedule.warm_up else ""
    return {
        "synthesizer": type(recipe.synthesizer).__name__,
        "terms": _terms(recipe.terms),
        "student": _terms(recipe.student),
        "memory": type(recipe.memory).__name__,
        "view": f"{type(recipe.view).__name__} / {type(recipe.student_view).__name__}",
        "schedule": f"{schedule.cycles} x ({schedule.g_steps}:{schedule.s_steps}){warm_up}",
    }


def table(names: list[str] | None = None) -> str:
    """The README's table of methods, in Markdown."""
    head = ["method", "paper", "certainty", "synthesizer", "terms", "student", "memory", "per round"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in names or methods.METHODS:
        row = describe(name)
        slot = row["slots"]
        cells = [f"`{name}`", row["citation"], row["certainty"], slot["synthesizer"], slot["terms"], slot["student"]]
        lines.append("| " + " | ".join([*cells, slot["memory"], slot["schedule"]]) + " |")
    return "\n".join(lines)


def _terms(rows: dict[str, Weighted]) -> str:
    weights = {name: "" if row.weight == 1 else f"{row.weight:g} " for name, row in rows.items() if row.weight}
    return ", ".join(weight + name for name, weight in weights.items())
