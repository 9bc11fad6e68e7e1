"""A form for any spec: one field a setting, checked while it is typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import ipywidgets

from dfkd_lab.errors import SpecError
from dfkd_lab.spec import allowed, check, setting_type, settings_of
from widgets.status import WRONG

WIDTH, LABEL_WIDTH = "9em", "10em"
"""Of a setting's own name, and of what people call it: the longest, bold, also in large type, and no more."""
NARROW = 16
"""Letters that a field shows at once; a path is longer, and is read where the pointer rests on it."""
INVALID, CHANGED = "dfkd-invalid", "dfkd-changed"
STYLE = f"""<style>
.{CHANGED} > .widget-label {{ font-weight: 600; }}
.{CHANGED} > .widget-label::after {{ content: " \\2022" / " changed"; color: #3f86d8; }}
.{INVALID} > input, .{INVALID} > select {{ border: 2px solid #cf4f62 !important; }}
.dfkd-allowed {{ color: {WRONG}; font-size: 13px; line-height: 1.3; text-align: right; }}
</style>"""
"""What marks a field. The panel says both marks in words too, for those who cannot see them."""


class Field:
    """One setting: a control, and below it what would be allowed if the value is not.

    Numbers are text, because a number widget turns what it does not allow into another number without a word.
    """

    def __init__(
        self, spec: type, name: str, options: Iterable[Any] = (), suggestions: Iterable[str] = (), label: str = ""
    ):
        self.spec, self.name, self.label = spec, name, label or name
        self._preset: Any = None
        self._blame = ""
        self.control = _control(spec, name, tuple(options), tuple(suggestions))
        if label:
            self.control.description, self.control.style.description_width = label, LABEL_WIDTH
        self.widget = ipywidgets.VBox([self.control], layout=ipywidgets.Layout(min_width="0"))
        self.control.observe(lambda change: self._mark(), "value")

    @property
    def value(self) -> Any:
        """What the field holds, as the setting's type; as it was typed if that is not allowed."""
        try:
            return check(self.spec, self.name, self.control.value)
        except SpecError:
            return self.control.value

    @value.setter
    def value(self, value: Any) -> None:
        self.control.value = value if isinstance(value, bool | str) else written(value)

    @property
    def preset(self) -> Any:
        """What the value is compared with; None if with nothing."""
        return self._preset

    @preset.setter
    def preset(self, value: Any) -> None:
        self._preset = value
        self._mark()

    @property
    def problem(self) -> str:
        """Why the value is not allowed; empty if it is."""
        try:
            check(self.spec, self.name, self.control.value)
        except SpecError as error:
            return str(error)
        return ""

    def blame(self, problem: str) -> None:
        """Mark the field with a problem that shows only beside other settings; with none, take the mark back."""
        self._blame = problem
        self._mark()

    def offer(self, suggestions: Iterable[str]) -> None:
        """Suggest these from now on; what the field holds stays."""
        if tuple(self.control.options) != (offered := tuple(suggestions)):
            self.control.options = offered

    @property
    def changed(self) -> bool:
        """Whether the value is not the preset's."""
        return self.preset is not None and bool(self.value != self.preset)

    def _mark(self) -> None:
        help_ = settings_of(self.spec)[self.name].metadata["help"]
        help_ = help_ if self.label == self.name else f"{self.name}: {help_}"
        problem = f"allowed: {allowed(self.spec, self.name)}" if self.problem else self._blame
        _switch(self.control, INVALID, bool(problem))
        _switch(self.control, CHANGED, self.changed)
        if isinstance(self.value, str) and len(self.value) > NARROW:
            help_ = f"{self.value}: {help_}"
        self.control.tooltip = f"{help_}; changed: the preset has {written(self.preset)}" if self.changed else help_
        notes, text = self.widget.children[1:], f"<div class='dfkd-allowed'>{escape(problem)}</div>"
        if problem and notes:
            notes[0].value = text
        elif problem:
            self.widget.children = [self.control, ipywidgets.HTML(text)]
        elif notes:
            self.widget.children = [self.control]
            close(notes[0])


class Form:
    """The settings of ``spec`` as fields; ``value`` is what they hold.

    ``choices`` gives a setting a list to pick from, of values or of pairs (shown, value); a setting in ``suggestions``
    also takes other text; ``labels`` says what people call a setting, where that is not its name.
    """

    def __init__(
        self,
        spec: type,
        names: Iterable[str] | None = None,
        *,
        choices: Mapping[str, Iterable[Any]] | None = None,
        suggestions: Mapping[str, Iterable[str]] | None = None,
        labels: Mapping[str, str] | None = None,
    ):
        wanted = (
            [name for name in settings_of(spec) if setting_type(spec, name) is not dict] if names is None else names
        )
        choices, suggestions, labels = choices or {}, suggestions or {}, labels or {}
        self.fields = {
            name: Field(spec, name, choices.get(name, ()), suggestions.get(name, ()), labels.get(name, ""))
            for name in wanted
        }
        self.widget = grid(self.fields.values())

    @property
    def value(self) -> dict[str, Any]:
        """What the fields hold, by setting."""
        return {name: field.value for name, field in self.fields.items()}

    @value.setter
    def value(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name in self.fields:
                self.fields[name].value = value

    def observe(self, listen: Callable[[str], None]) -> None:
        """Have ``listen`` called with the name of each setting whose field changes."""
        for name, field in self.fields.items():
            field.control.observe(lambda change, name=name: listen(name), "value")

    def close(self) -> None:
        """Close every field, wherever it is shown."""
        for field in self.fields.values():
            close(field.widget)
        close(self.widget)


def at_fault(problem: str, fields: Mapping[str, Field]) -> Field | None:
    """The field that a refusal is about: whose setting it names first, else whose text it quotes."""
    named = [(found.start(), name) for name in fields if (found := re.search(rf"\b{name}\b(?= = |:)", problem))]
    quoted = [name for name, field in fields.items() if isinstance(field.value, str) and len(field.value) > 1
              and field.value in problem]  # fmt: skip
    name = min(named)[1] if named else quoted[0] if quoted else ""
    return fields.get(name)


def grid(fields: Iterable[Field]) -> ipywidgets.GridBox:
    """Fields in as many columns as fit, so that nothing scrolls sideways."""
    columns = "repeat(auto-fill, minmax(min(100%, 200px), 1fr))"
    layout = ipywidgets.Layout(grid_template_columns=columns, grid_gap="2px 12px", width="100%")
    return ipywidgets.GridBox([field.widget for field in fields], layout=layout)


def close(widget: Any) -> None:
    """Close a widget with everything inside it; a plotly chart stays, for it can be used again but never freed."""
    if hasattr(widget, "batch_update"):
        return
    for child in getattr(widget, "children", ()):
        close(child)
    for part in ("layout", "style"):
        if hasattr(widget, part):
            getattr(widget, part).close()
    widget.close()


def button(name: str, tooltip: str, action: Callable[[], object] | None = None) -> ipywidgets.Button:
    """A button as wide as its name, with what a press of it does."""
    layout = ipywidgets.Layout(flex="0 0 auto", width="auto")
    made = ipywidgets.Button(description=name, tooltip=tooltip, layout=layout)
    if action:
        made.on_click(lambda button: action())
    return made


def written(value: Any) -> str:
    """A value as a person types it: 10 for 10.0, 'yes' or 'no' for a truth."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value) or "nothing"


def _switch(control: ipywidgets.DOMWidget, mark: str, on: bool) -> None:
    if on:
        control.add_class(mark)
    else:
        control.remove_class(mark)


def _control(spec: type, name: str, options: tuple[Any, ...], suggestions: tuple[str, ...]) -> ipywidgets.Widget:
    setting, wanted = settings_of(spec)[name], setting_type(spec, name)
    options = options or tuple(setting.metadata.get("choices") or ())
    shown: dict[str, Any] = {
        "value": setting.default,
        "description": name,
        "tooltip": setting.metadata["help"],
        "style": {"description_width": WIDTH},
        "layout": ipywidgets.Layout(width="auto", min_width="0"),
    }
    if suggestions:
        return ipywidgets.Combobox(options=suggestions, ensure_option=False, continuous_update=False, **shown)
    if options:
        return ipywidgets.Dropdown(options=options, **shown)
    if wanted is bool:
        return ipywidgets.Checkbox(**shown)
    if wanted is str:
        return ipywidgets.Text(continuous_update=False, **shown)
    return ipywidgets.Text(**{**shown, "value": written(setting.default)})
