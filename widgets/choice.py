"""What to run: the fields of the panel. They hold what is asked for; ``plan`` decides what that means."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets

from dfkd_lab import catalogue, compose, data, methods, nets, teachers
from dfkd_lab.diagram import diagram
from dfkd_lab.runs import plan
from dfkd_lab.spec import RunSpec, kind, knobs
from widgets import form

FIRST = ("method", "teacher", "student", "data", "rounds", "seed", "out")
PRESET_DEPENDS_ON = ("method", "teacher", "data", "preset")
SLOTS = (*compose.KINDS, "terms")
ROW = {"flex_flow": "row wrap", "align_items": "flex-start", "width": "100%"}


class Choice:
    """The run's settings, the method's, and what the method is. ``tell`` runs an action and shows its error."""

    def __init__(self, tell: Callable[[Callable[[], None]], None]):
        self.run_form = form.Form(
            RunSpec,
            FIRST,
            choices={"method": methods.METHODS, "student": nets.CLASSIFIERS, "data": data.EVALUATION_SETS},
            suggestions={"teacher": teachers.BUILT_IN},
        )
        self.run_form.fields["out"].placeholder = "automatic"
        apart = (*FIRST, *SLOTS)
        rest = [name for name in knobs(RunSpec) if name not in apart and kind(RunSpec, name) is not dict]
        normalizations = ("auto", *teachers.NORMALIZATIONS)
        self.more_form = form.Form(RunSpec, rest, choices={"normalization": normalizations})
        self.slot_form = form.Form(RunSpec, SLOTS, suggestions=compose.KINDS)
        self.method_form = form.Form(RunSpec, ())  # until a method is chosen
        self.first = form.grid(self.run_form.fields.values())
        self.about = ipywidgets.HTML()
        half = ipywidgets.Layout(flex="1 1 320px", min_width="0", margin="0 4px 0 0")
        self.settings = ipywidgets.Accordion(layout=half)
        title = "Preset, device and checkpoints"
        self.more = ipywidgets.Accordion([self.more_form.widget], titles=(title,), layout=half)
        self.picture = ipywidgets.HTML(layout=ipywidgets.Layout(width="100%"))
        drawn = ipywidgets.VBox([self.picture, self.slot_form.widget])
        self.slots = ipywidgets.Accordion([drawn], titles=("Slots",), layout=ipywidgets.Layout(width="100%"))
        folded = ipywidgets.Box([self.slots, self.settings, self.more], layout=ROW)
        self.widget = ipywidgets.VBox([self.first, self.about, folded], layout=ipywidgets.Layout(width="100%"))
        fields = {**self.run_form.fields, **self.more_form.fields}
        for name in PRESET_DEPENDS_ON:
            fields[name].observe(lambda change: tell(self.fill), "value")
        for field in self.slot_form.fields.values():
            field.observe(lambda change: tell(self.draw), "value")

    def values(self) -> dict[str, Any]:
        """What the fields say, for ``plan``."""
        forms = (self.run_form, self.more_form, self.slot_form)
        return {name: value for each in forms for name, value in each.value.items()} | {
            "settings": self.method_form.value
        }

    def fill(self) -> None:
        """Show the method, and the settings its preset gives: what is seen is what will run.

        Raises:
            SpecError: if the preset does not go with the method.
        """
        asked = self.values()
        spec = plan({name: asked[name] for name in PRESET_DEPENDS_ON})
        method = methods.find(spec.method)
        self.method_form.close()
        self.method_form = form.Form(method)
        self.method_form.value = spec.settings
        self.run_form.fields["rounds"].value = spec.rounds
        apart = [field for name, field in self.method_form.fields.items() if name == "capacity"]
        self.method_form.widget.children = [each for each in self.method_form.fields.values() if each not in apart]
        self.first.children = [*self.run_form.fields.values(), *apart]
        self.settings.children = [self.method_form.widget]
        self.settings.titles = (f"Settings of {spec.method}",)
        self.about.value = described(method)
        self.draw()

    def draw(self) -> None:
        """Draw the slots as they would be filled now.

        Raises:
            SpecError: if they do not fit together.
        """
        spec = plan(self.values())
        recipe = catalogue.recipe_of(compose.method_of(spec))
        self.picture.value = diagram("+".join([spec.method, *compose.replaced(spec).values()]), recipe)
        self.slots.titles = (f"Slots of {spec.method}, to look at and to replace",)

    def close(self) -> None:
        """Close every field."""
        for each in (self.run_form, self.more_form, self.slot_form, self.method_form):
            each.close()
        form.close(self.widget)


def described(method: type[Any]) -> str:
    """What a method is, who wrote it, and how certain this version is."""
    first = (inspect.getdoc(method) or "").split("\n")[0]
    facts = "; ".join(filter(None, (method.citation, method.certainty, methods.remark(method))))
    return f"<div style='line-height: 1.4; margin: 2px 0'>{escape(first)} <small>{escape(facts)}.</small></div>"
