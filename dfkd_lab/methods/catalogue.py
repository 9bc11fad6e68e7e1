"""What there is to choose from, read off the method files and their recipes; nothing is written down twice."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from dfkd_lab import methods, nets
from dfkd_lab.engine.recipe import Losses, Method, MethodContext, Recipe
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.spec import build, settings_of
from dfkd_lab.system.rng import preserved


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
            for each in settings_of(method).values()
        },
        "presets": method.presets,
        "by_teacher": getattr(method, "by_teacher", {}),
    }


def remarks(module: str, method: type[Any]) -> list[str]:
    """The ``Differs:`` and ``Inferred:`` paragraphs of a method file."""
    text = [module, inspect.getdoc(method) or "", inspect.getdoc(method.compose) or ""]
    paragraphs = [" ".join(each.split()) for part in text for each in part.split("\n\n")]
    result = []
    for paragraph in paragraphs:
        for mark in ("Differs:", "Inferred:"):
            if mark in paragraph:
                result.append(mark + paragraph.split(mark, 1)[1])
    return result


def compose_on_digits(name: str) -> Recipe:
    """The recipe of a method with its digits preset (or its defaults), on an untrained teacher."""
    method = methods.find(name)
    return recipe_of(build(method, methods.own_settings(method.presets.get("digits", {}))))


def recipe_of(method: Method) -> Recipe:
    """The recipe of ``method`` on untrained networks for digits: what it is made of, whether it fits or not."""
    with preserved():
        teacher = Frozen(nets.classifier("convnet_32", 1, 10), (0.5,), (0.5,))
        student = Classifier(nets.classifier("convnet_8", 1, 10), (0.5,), (0.5,))
        observer = Observer(teacher, student)
        return method.compose(MethodContext(teacher, observer, shape=(1, 16, 16), classes=10, rounds=100))


def slots(recipe: Recipe) -> dict[str, str]:
    """What fills each of the six slots, in words."""
    schedule = recipe.schedule
    warm_up = f", after {schedule.warm_up} rounds of warm-up" if schedule.warm_up else ""
    return {
        "synthesizer": type(recipe.synthesizer).__name__,
        "terms": _losses(recipe.losses),
        "student": _losses(recipe.student_losses),
        "memory": type(recipe.memory).__name__,
        "view": f"{type(recipe.view).__name__} / {type(recipe.student_view).__name__}",
        "schedule": f"{schedule.cycles} x ({schedule.g_steps}:{schedule.s_steps}){warm_up}",
    }


def table(names: list[str] | None = None) -> str:
    """The README's table of methods, in Markdown."""
    head = ["method", "paper", "certainty", "synthesizer", "losses", "student losses", "memory", "per round"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in names or methods.METHODS:
        row = describe(name)
        slot = row["slots"]
        cells = [f"`{name}`", row["citation"], row["certainty"], slot["synthesizer"], slot["terms"], slot["student"]]
        lines.append("| " + " | ".join([*cells, slot["memory"], slot["schedule"]]) + " |")
    return "\n".join(lines)


def _losses(losses: Losses) -> str:
    weights = {name: "" if each.weight == 1 else f"{each.weight:g} " for name, each in losses.items() if each.weight}
    return ", ".join(weight + name for name, weight in weights.items())
