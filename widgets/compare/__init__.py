"""Runs beside each other: groups of seeds, figures and tables of them, and the panel that chooses."""

from widgets.compare.class_panels import by_class
from widgets.compare.figures import cost_against_accuracy, overlay, results, settings
from widgets.compare.groups import Group, Run, group, rows, to_csv
from widgets.compare.page import write as write_page
from widgets.compare.panel import Compare

__all__ = [
    "Compare",
    "Group",
    "Run",
    "by_class",
    "cost_against_accuracy",
    "group",
    "overlay",
    "results",
    "rows",
    "settings",
    "to_csv",
    "write_page",
]
