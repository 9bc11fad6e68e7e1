"""The bar above everything: what is chosen or watched, in a line, and the buttons that begin and end it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets

from widgets import status
from widgets.choice import ROW

BUTTONS = {
    "Start": "Begin a new run with what is chosen",
    "Pause": "Hold the run before its next step",
    "Resume": "Let a paused run go on, or continue a stopped one from its checkpoint",
    "Stop": "End the run after this round; what it has is saved",
}
ENABLED = {
    "Start": ("no run", "new", "gone", *status.ENDED),
    "Pause": ("running",),
    "Resume": ("new", "paused", "stopped", "failed", "pausing"),
    "Stop": ("starting", "running", "paused", "pausing"),
}
"""Per button the states in which it can be pressed; "pausing" and "stopping" are requested and not yet so."""


class Bar:
    """A line of text, a switch that folds ``form``, and the buttons.

    Args:
        actions: What each of :data:`BUTTONS` does.
        form: Shown while the switch is on.
        more: Widgets at the end.
    """

    def __init__(self, actions: Mapping[str, Callable[[], Any]], form: ipywidgets.Widget, *more: ipywidgets.Widget):
        self.form = form
        self.summary = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 300px", min_width="0"))
        self.edit = ipywidgets.ToggleButton(
            value=True,
            description="Edit",
            tooltip="Show what can be chosen, or only the run",
            layout=ipywidgets.Layout(flex="0 0 auto", width="auto"),
        )
        self.edit.observe(lambda change: self._fold(), "value")
        self.buttons = {name: _button(name, actions[name]) for name in BUTTONS}
        parts = [self.summary, self.edit, *self.buttons.values(), *more]
        self.widget = ipywidgets.Box(parts, layout={**ROW, "align_items": "center"})

    def say(self, text: str) -> None:
        """What is chosen or watched."""
        style = "line-height: 1.3; overflow-wrap: anywhere; scroll-margin-top: 14px"
        html = f"<div class='dfkd-bar' style='{style}'>{escape(text)}</div>"
        status.put(self.summary, html)

    def switch(self, state: str, can_start: bool) -> None:
        """Have pressed what can be in that state."""
        for name, button in self.buttons.items():
            status.put(button, state not in ENABLED[name] or (name == "Start" and not can_start), "disabled")

    def _fold(self) -> None:
        self.form.layout.display = None if self.edit.value else "none"


def _button(name: str, action: Callable[[], Any]) -> ipywidgets.Button:
    layout = ipywidgets.Layout(flex="0 0 auto", width="auto", min_width="72px")
    button = ipywidgets.Button(description=name, tooltip=BUTTONS[name], layout=layout)
    button.style.font_weight = "600" if name == "Start" else "400"
    button.button_style = "primary" if name == "Start" else ""
    button.on_click(lambda button: action())
    return button
