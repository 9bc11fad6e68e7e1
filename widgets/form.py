"""A form for any spec: one field a knob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ipywidgets

from dfkd_lab.spec import kind, knobs

# The widgets want a bound on each side; these are far beyond any knob.
LARGEST = {int: 2**53 - 1, float: 1e300}
WIDTH = "112px"


class Form:
    """The knobs of ``spec`` as fields; what is typed is ``value``, checked later by ``build`` like every other input.

    ``choices`` gives a knob a list to pick from; a knob in ``suggestions`` also takes other text.
    """

    def __init__(
        self,
        spec: type,
        names: Iterable[str] | None = None,
        *,
        choices: Mapping[str, Iterable[str]] | None = None,
        suggestions: Mapping[str, Iterable[str]] | None = None,
    ):
        wanted = [name for name in knobs(spec) if kind(spec, name) is not dict] if names is None else names
        self.fields = {name: _field(spec, name, choices or {}, suggestions or {}) for name in wanted}
        self.widget = grid(self.fields.values())

    @property
    def value(self) -> dict[str, Any]:
        """What the fields hold, by knob."""
        return {name: field.value for name, field in self.fields.items()}

    @value.setter
    def value(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name in self.fields:
                self.fields[name].value = value

    def close(self) -> None:
        """Close every field, wherever it is shown."""
        for each in (*self.fields.values(), self.widget):
            close(each)


def grid(fields: Iterable[ipywidgets.Widget]) -> ipywidgets.GridBox:
    """Fields in as many columns as fit, so that nothing scrolls sideways."""
    columns = "repeat(auto-fill, minmax(min(100%, 230px), 1fr))"
    layout = ipywidgets.Layout(grid_template_columns=columns, grid_gap="2px 12px", width="100%")
    return ipywidgets.GridBox(list(fields), layout=layout)


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


def _field(
    spec: type, name: str, choices: Mapping[str, Iterable[str]], suggestions: Mapping[str, Iterable[str]]
) -> ipywidgets.Widget:
    knob, wanted = knobs(spec)[name], kind(spec, name)
    facts = knob.metadata
    options = tuple(choices.get(name, facts.get("choices") or ()))
    shown: dict[str, Any] = {
        "value": knob.default,
        "description": name,
        "tooltip": facts["help"],
        "style": {"description_width": WIDTH},
        "layout": ipywidgets.Layout(width="auto", min_width="0"),
    }
    if name in suggestions:
        return ipywidgets.Combobox(options=tuple(suggestions[name]), ensure_option=False, **shown)
    if options:
        return ipywidgets.Dropdown(options=options, **shown)
    if wanted is bool:
        return ipywidgets.Checkbox(**shown)
    if wanted is str:
        return ipywidgets.Text(continuous_update=False, **shown)
    low, high = facts.get("low"), facts.get("high")
    number = ipywidgets.BoundedIntText if wanted is int else ipywidgets.BoundedFloatText
    low = -LARGEST[wanted] if low is None else wanted(low)
    high = LARGEST[wanted] if high is None else wanted(high)
    step = {} if wanted is int else {"step": None}
    return number(min=low, max=high, **step, **shown)
