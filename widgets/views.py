"""The figures of a run that a person can turn to: name, what it shows, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go

from widgets import figures
from widgets.class_figures import by_class
from widgets.confusion import confusions
from widgets.history import History
from widgets.memory_figure import buffer

BY_CLASS, CONFUSION = "classes", "confusion"
EXAMINED = (BY_CLASS, CONFUSION, "buffer")
"""The views below which a run can be examined."""


def classes(history: History, teacher: Mapping[str, Any]) -> go.Figure:
    """By class: of a segmentation what its evaluations log, else what was found when the run was examined."""
    if teacher.get("task") == "segmentation":
        return by_class(history.reports, teacher.get("class_names", ()), teacher.get("iou", ()))
    return confusions(history.examination, begun=bool(history.reports))


VIEWS: dict[str, tuple[str, Callable[[History, Mapping[str, Any]], go.Figure]]] = {
    "accuracy": (
        "Student, teacher, and how often they agree on synthetic images",
        lambda history, teacher: figures.curves(history.reports, teacher.get("accuracy"), history.means),
    ),
    "health": ("The signals that need no label", lambda history, _: figures.health(history.reports)),
    "losses": ("Every loss of both players, before its weight", lambda history, _: figures.losses(history.reports)),
    "cost": ("Seconds by phase, images and teacher queries so far", lambda history, _: figures.cost(history.reports)),
    "buffer": (
        "What the memory holds",
        lambda history, teacher: buffer(history.reports, teacher.get("class_names", ())),
    ),
    BY_CLASS: (
        "What is right by class, and which class is taken for which",
        classes,
    ),
    CONFUSION: (
        "Which class of a pixel is taken for which",
        lambda history, _: confusions(history.examination, begun=bool(history.reports)),
    ),
}


def offered(dense: bool) -> list[str]:
    """Those of a run: of networks that label every pixel, classes have a view by themselves."""
    return [name for name in VIEWS if dense or name != CONFUSION]
