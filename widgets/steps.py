"""The first look of the form: three steps from left to right, teacher, method and student, budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets

from widgets.form import Field

STEPS: dict[str, tuple[str, ...]] = {
    "Teacher": ("teacher", "data"),
    "Method and student": ("method", "student", "capacity"),
    "Budget": ("rounds", "seed", "preset", "out"),
}
"""The settings of each step; of the method's own, those that it has."""
LABELS = {
    "teacher": "teacher",
    "data": "evaluated on",
    "method": "method",
    "student": "student",
    "capacity": "buffer (images)",
    "rounds": "rounds",
    "seed": "seed",
    "preset": "settings as for",
    "out": "run folder",
}
"""What people call them; the names that commands and notebooks have stand in the tooltips."""


class Steps:
    """The steps as boxes beside each other; below the fields of each stands what is known of them.

    Args:
        known: Widgets by step.
    """

    def __init__(self, known: Mapping[str, Sequence[Any]]):
        self.known, self.boxes = known, {name: ipywidgets.VBox(layout=_column()) for name in STEPS}
        self.titles = {name: ipywidgets.HTML(f"<b>{number} · {name}</b>") for number, name in enumerate(STEPS, 1)}
        layout = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start", width="100%")
        self.widget = ipywidgets.Box(list(self.boxes.values()), layout=layout)

    def show(self, fields: Mapping[str, Field]) -> None:
        """Put the fields of the present method into their steps."""
        for step, names in STEPS.items():
            there = [fields[name].widget for name in names if name in fields]
            self.boxes[step].children = [self.titles[step], *there, *self.known[step]]


def _column() -> ipywidgets.Layout:
    return ipywidgets.Layout(flex="1 1 270px", min_width="0", margin="0 14px 4px 0")
