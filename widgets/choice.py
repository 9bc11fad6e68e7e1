"""What to run: the fields of the panel. They hold what is chosen; ``plan`` decides what that means."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab import data, methods, nets, teachers
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.methods import composition, diagram
from dfkd_lab.runs.commands import CHOOSE_PRESET
from dfkd_lab.runs.planning import ResolvedRun, plan, settled
from dfkd_lab.spec import RunSpec, setting_type, settings_of
from dfkd_lab.teachers import BUILT_IN
from widgets import form, status, visitor
from widgets.cards import Cards
from widgets.commands import Commands
from widgets.forecast import Forecast
from widgets.steps import LABELS, Steps
from widgets.trust import Trust
from widgets.wording import described, offered, paragraph, proper_name, sentences

FIRST = ("method", "teacher", "student", "data", "preset", "rounds", "seed", "out")
SLOTS = (*composition.KINDS, "terms")
APART = ("capacity",)
"""Settings of methods that are seen without unfolding."""
ROW = {"flex_flow": "row wrap", "align_items": "flex-start", "width": "100%"}


class Choice:
    """The run's settings, the method's, and what is known of them before the run.

    ``resolved`` is the run that is chosen, or None; then ``problem`` says why. ``on_change`` is called after each
    change. ``root`` holds the run folders.
    """

    def __init__(self, on_change: Callable[[], None], root: Path):
        self.problem, self.on_change, self.root, self._busy, self._expected = "", on_change, root, False, ""
        self._found: RunSpec | None = None
        self.resolved: ResolvedRun | None = None
        self.run_form = form.Form(
            RunSpec,
            FIRST,
            choices={"method": [(offered(name), name) for name in methods.METHODS]},
            suggestions={
                "teacher": (*BUILT_IN, *teachers.near_by()),
                "student": nets.CLASSIFIERS,
                "data": data.EVALUATION_SETS,
            },
            labels=LABELS,
        )
        self.run_form.fields["out"].control.placeholder = "automatic"
        others = [name for name in settings_of(RunSpec) if name not in (*FIRST, *SLOTS)]
        rest = [name for name in others if setting_type(RunSpec, name) is not dict]
        normalizations = ("auto", *teachers.NORMALIZATIONS)
        self.more_form = form.Form(RunSpec, rest, choices={"normalization": normalizations})
        self.slot_form = form.Form(RunSpec, SLOTS, suggestions=composition.KINDS)
        self.method_form = form.Form(RunSpec, ())  # until a method is chosen
        for field in self.slot_form.fields.values():
            field.preset = ""
        self.cards, self.forecast, self.trust = Cards(self._cards_found), Forecast(), Trust(self._examine)
        self._arrange()
        for each in (self.run_form, self.more_form, self.slot_form):
            each.observe(self._changed)

    def values(self) -> dict[str, Any]:
        """What the fields say, for ``plan``."""
        forms = (self.run_form, self.more_form, self.slot_form)
        values = {name: value for each in forms for name, value in each.value.items()}
        if values["minutes"] and not self.run_form.fields["rounds"].changed:
            values["rounds"] = 0  # what is seen there is the preset's, and nobody's wish
        # what follows the preset is left to the plan, which knows what follows from the networks too
        changed = {name: field.value for name, field in self.method_form.fields.items() if field.changed}
        return {**values, "settings": changed}

    def fill(self, preset: str = "") -> None:
        """Show the method with the settings of ``preset``, or of the one that is chosen, and its own slots."""
        with self._quietly():
            if preset:
                self.run_form.fields["preset"].value = preset
            for field in self.slot_form.fields.values():
                field.value = ""
            self._show_method(keep=False)
        self._examine()

    def take(self, spec: RunSpec) -> None:
        """Show the choice that gives ``spec``; its folder is left to be chosen, for it holds that run."""
        values = {name: getattr(spec, name) for name in settings_of(RunSpec)} | {"out": ""}
        self.trust.found(spec)
        with self._quietly():
            self.run_form.fields["method"].value = spec.method
            self._offer_presets(methods.find(spec.method))
            for each in (self.run_form, self.more_form, self.slot_form):
                each.value = values
            self._show_method(keep=False)
            self.method_form.value = spec.settings
            self.run_form.fields["rounds"].value = spec.rounds
        self._examine()

    def close(self) -> None:
        """Close every field."""
        for each in (self.run_form, self.more_form, self.slot_form, self.method_form):
            each.close()
        form.close(self.trust.button)
        form.close(self.widget)

    def _changed(self, name: str) -> None:
        if self._busy:
            return
        self.resolved = None  # nothing that was chosen before is started, whatever goes wrong from here on
        with self._quietly():
            if name == "method":
                self._show_method()
            elif name in CHOOSE_PRESET:
                if name == "teacher":
                    self._bring_its_own()
                self._follow_preset()
        self._examine()

    def _bring_its_own(self) -> None:
        """Have a built-in teacher's student and data, where those of another built-in one stand."""
        fields, own = self.run_form.fields, {name: (each.student, each.spec.data) for name, each in BUILT_IN.items()}
        if (name := fields["teacher"].value) in own and (fields["student"].value, fields["data"].value) in own.values():
            fields["student"].value, fields["data"].value = own[name]

    def _show_method(self, keep: bool = True) -> None:
        """The form of the method, filled by the preset: what is seen is what will run. A person's changes are kept."""
        method = methods.find(self.run_form.fields["method"].value)
        self._offer_presets(method)
        kept = {name: field.control.value for name, field in self._preset_fields().items() if keep and field.changed}
        self.method_form.close()
        self.method_form = form.Form(method, labels=LABELS)
        fields = self._preset_fields()
        for field in fields.values():
            field.preset = None
        self._follow_preset()
        for name in kept.keys() & fields:
            fields[name].control.value = kept[name]
        self.method_form.observe(self._changed)
        apart = [field for name, field in self.method_form.fields.items() if name in APART]
        folded = [field.widget for field in self.method_form.fields.values() if field not in apart]
        self.method_form.widget.children = folded
        self.steps.show({**self.run_form.fields, **{field.name: field for field in apart}})
        self.settings.children = [self.method_form.widget]
        self.about.value = described(self.run_form.fields["method"].value)

    def _offer_presets(self, method: type[Any]) -> None:
        field = self.run_form.fields["preset"]
        chosen, names = field.value, ("auto", *method.presets)
        field.control.options = names
        field.value = chosen if chosen in names else "auto"

    def _preset_fields(self) -> dict[str, form.Field]:
        """The fields whose values a preset has."""
        return {"rounds": self.run_form.fields["rounds"], **self.method_form.fields}

    def _follow_preset(self) -> None:
        """Have the preset's values in every field that nobody changed; the others are marked where they differ."""
        preset = self._preset()
        for name, field in self._preset_fields().items():
            value = preset.rounds if name == "rounds" else preset.settings[name]
            if not field.changed:
                field.value = value
            field.preset = value

    def _preset(self) -> RunSpec:
        """The run that the preset gives; while the teacher or the data cannot be had, the one that was found last."""
        values = {name: value for name, value in self.values().items() if name in CHOOSE_PRESET}
        try:
            self.trust.refuse(values)
            self._found = settled(values)
        except SpecError:
            if self._found is None or self._found.method != values["method"]:
                self._found = settled({name: values[name] for name in ("method", "preset")})
        return self._found

    def _examine(self) -> None:
        """Find out whether the choice can be run, and show what is known of that run."""
        fields = self._fields()
        status.put(self.ahead, "")
        self.resolved = None  # what was said before stands until it is known anew
        self.commands.show(None)
        try:
            if problems := [field.problem for field in fields.values() if field.problem]:
                raise SpecError("; ".join(problems))
            visitor.check_inside(fields["out"].value, self.root)
            self.trust.check(self.values())
            self.resolved, self.problem = plan(self.values()), ""
            self._show(self.resolved)
        except (SpecError, RunError) as error:
            self.problem = str(error)
            self.cards.show_found(self.values(), self.problem)
        self._offer_students()
        self._blame()
        self._name_changes([field.name for field in fields.values() if field.changed])
        self.on_change()

    def _offer_students(self) -> None:
        """Those of the teacher's task."""
        offered = nets.SEGMENTERS if self.cards.task == "segmentation" else nets.CLASSIFIERS
        self.run_form.fields["student"].offer(offered)

    def _fields(self) -> dict[str, form.Field]:
        forms = (self.run_form, self.more_form, self.slot_form, self.method_form)
        return {name: field for each in forms for name, field in each.fields.items()}

    def _blame(self) -> None:
        """Mark the field that the problem is about, and no other, and open the fold that it is in."""
        fields = self._fields()
        marked = [field for field in fields.values() if field.problem]
        culprit = form.at_fault(self.problem, fields) if self.problem and not marked else None
        for field in fields.values():
            field.blame(self.problem if field is culprit else "")
        marked += [culprit] if culprit else []
        folds = ((self.settings, self.method_form), (self.slots, self.slot_form), (self.more, self.more_form))
        for fold, inside in folds:
            if any(field.widget in inside.widget.children for field in marked):
                fold.selected_index = 0

    def _cards_found(self) -> None:
        """What only measuring the teacher shows, as that there is no data, keeps a run from being started too."""
        if self.resolved:  # whose teacher may have been trained meanwhile
            self._look_ahead(self.resolved, self._expected)
        if self.resolved and self.cards.problem:
            self.resolved, self.problem = None, self.cards.problem
            self._blame()
            self.on_change()

    def _show(self, resolved: ResolvedRun) -> None:
        spec, recipe = resolved.spec, resolved.composed.recipe
        name = "+".join([spec.method, *composition.replaced(spec).values()])
        status.put(self.picture, diagram.draw(name, recipe))
        self._look_ahead(resolved)
        self.commands.show(spec)
        self.forecast.show(resolved, partial(self._look_ahead, resolved))
        self.cards.show(resolved)

    def _look_ahead(self, resolved: ResolvedRun, forecast: str = "") -> None:
        if self.resolved is resolved:
            rounds, schedule = resolved.spec.rounds, resolved.composed.recipe.schedule
            self._expected, trained = forecast, resolved.teacher.sha256 or resolved.teacher.path.exists()
            training = "" if trained else "Before that its teacher is trained, once."
            notes = sentences(resolved.notes)
            said, warning = ("", notes) if schedule.warm_up >= rounds else (notes, "")
            parts = [status.cost_ahead(rounds, schedule), forecast, training, said]
            status.put(self.ahead, paragraph(" ".join(filter(None, parts)), warning))

    def _name_changes(self, names: list[str]) -> None:
        method = proper_name(self.run_form.fields["method"].value)
        folded = [name for name in names if name not in APART]
        changed = [sum(name in each.fields for name in folded) for each in (self.method_form, self.slot_form)]
        notes = [f" ({count} changed)" if count else "" for count in changed]
        self.settings.titles = (f"Settings of {method}{notes[0]}",)
        self.slots.titles = (f"Slots of {method}, to look at and to replace{notes[1]}",)
        preset = self._preset().preset
        status.put(self.reset, f"Reset to preset '{preset}'", "description")
        called = ", ".join(LABELS.get(name, name) for name in names)
        text = f"Changed from the preset '{preset}': {called}." if names else f"All as in preset '{preset}'."
        status.put(self.changes, paragraph(text))

    def _arrange(self) -> None:
        self.about, self.ahead, self.changes = (
            ipywidgets.HTML(layout=ipywidgets.Layout(min_width="0", margin="2px 0")) for _ in range(3)
        )
        self.reset = form.button("Reset to preset", "Take back every change of rounds, settings and slots", self.fill)
        paper = form.button(
            "Take the paper's",
            "Choose the preset that the paper gives; settings as for: auto takes it back",
            lambda: self.fill("paper"),
        )
        self.commands = Commands()
        self.steps = Steps({
            "Teacher": [self.cards.teacher],
            "Method and student": [self.about, self.cards.student],
            "Budget": [self.ahead, self.changes, ipywidgets.Box([self.reset, paper], layout=ROW), self.commands],
        })  # fmt: skip
        self.picture = ipywidgets.HTML()
        drawn = ipywidgets.VBox([self.picture, self.slot_form.widget])
        self.settings = ipywidgets.Accordion()  # a width of 100 % would leave no room for its margin
        self.more, self.slots = (
            ipywidgets.Accordion([each], titles=(title,))
            for each, title in ((self.more_form.widget, "Device, normalization and checkpoints"), (drawn, "Slots"))
        )
        parts = [self.steps.widget, self.settings, self.slots, self.more]
        self.widget = ipywidgets.VBox(parts, layout=ipywidgets.Layout(width="100%"))

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Fields that are filled here are not changes by a person."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
