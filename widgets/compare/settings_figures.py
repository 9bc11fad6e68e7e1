"""What the settings of many runs have to do with their results: importance, and parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from widgets import figures, form
from widgets.class_figures import SCALE
from widgets.compare.groups import Group, Run, chosen
from widgets.figures import COLORS, TEXT

MOST_LEVELS = 5
"""Values of a setting that are told apart; more numbers than that are put into as many parts of equal size."""
MOST_TICKS = 8
FEWEST = "Importance needs runs that differ in a setting, and more of them than it has values."


def importance(groups: Sequence[Group]) -> dict[str, float]:
    """For each chosen setting the share of the results' variance that lies between its values, adjusted for chance.

    Adjusted as R² is: 0 is what values that have nothing to do with the results have on average, and less than nothing
    is shown as nothing. Settings that change together have the same share; what each of them does is not told.
    Runs of which accuracy was not measured count by their agreement.
    """
    found = {}
    for name in chosen(groups):
        pairs = [(run.settings.get(name), result(run)) for each in groups for run in each.runs]
        known = [(value, score) for value, score in pairs if score is not None]
        if known and (share := _share_between(*zip(*known, strict=True))) is not None:
            found[name] = share
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def result(run: Run) -> float | None:
    """What a run is judged by: its last accuracy, or agreement where there is none."""
    found = run.result.get("last", run.result.get("agreement"))
    return found if found is not None and math.isfinite(found) else None


def importance_figure(groups: Sequence[Group]) -> go.Figure:
    """:func:`importance` as bars."""
    shares, count = importance(groups), sum(len(each.runs) for each in groups)
    names = list(shares)[::-1]
    figure = go.Figure(go.Bar(y=names, x=[shares[name] for name in names], orientation="h", marker_color=COLORS[0]))
    title = f"share of the variance between {count} runs, adjusted for chance"
    figure.update_xaxes(title_text=title, range=[0, 1])
    figures.themed(figure, 110 + 28 * max(2, len(names)), labels=bool(names), showlegend=False,
                   margin={"l": 150, "r": 12, "t": 12, "b": 48})  # fmt: skip
    if not names:
        place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.6, "showarrow": False}
        figure.add_annotation(text=FEWEST, font={"color": TEXT, "size": 14}, **place)
    return figure


def parallel(groups: Sequence[Group]) -> go.Figure:
    """A line a run, through the values of the settings that differ, to its result."""
    runs = [run for each in groups for run in each.runs if result(run) is not None]
    results = [result(run) for run in runs]
    dimensions = [_dimension(name, [run.settings.get(name) for run in runs]) for name in chosen(groups)]
    dimensions.append(_dimension("seed", [run.seed for run in runs]))
    dimensions.append({"label": "result, last round", "values": results, "tickformat": ".3f"})
    line = {"color": results, "colorscale": SCALE, "showscale": False}
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line))
    figure.update_traces(labelfont={"color": TEXT, "size": 13}, tickfont={"color": TEXT}, rangefont={"color": TEXT})
    return figures.themed(figure, 380, margin={"l": 80, "r": 80, "t": 56, "b": 24})


def _share_between(values: Sequence[Any], results: Sequence[float]) -> float | None:
    """The adjusted share for one setting; None where it cannot be told."""
    levels = np.asarray(_levels(values))
    scores, count = np.asarray(results, np.float64), len(set(levels.tolist()))
    total = float(((scores - scores.mean()) ** 2).sum())
    if count < 2 or len(scores) <= count or total == 0:
        return None
    within = sum(float(((part - part.mean()) ** 2).sum()) for each in set(levels.tolist())
                 if len(part := scores[levels == each]))  # fmt: skip
    return max(0.0, 1 - within / total * (len(scores) - 1) / (len(scores) - count))


def _levels(values: Sequence[Any]) -> list[int]:
    """Each value's number among those that are told apart."""
    names = sorted({repr(value) for value in values})
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers or len(names) <= MOST_LEVELS:
        return [names.index(repr(value)) for value in values]
    edges = np.quantile(np.asarray(values, np.float64), np.linspace(0, 1, MOST_LEVELS + 1)[1:-1])
    return [int(each) for each in np.digitize(np.asarray(values, np.float64), edges)]


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """An axis: of numbers where all are some that are not few, else of names."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) and len(set(values)) > 1:
        known = sorted(set(values))
        ticks = {"tickvals": known, "ticktext": [*map(form.written, known)]} if len(known) <= MOST_TICKS else {}
        return {"label": name, "values": values, **ticks}
    names = sorted({form.written(value) if value is not None else "–" for value in values})
    places = [names.index(form.written(value) if value is not None else "–") for value in values]
    spread = {"range": [-0.5, max(0.5, len(names) - 0.5)], "tickvals": [*range(len(names))], "ticktext": names}
    return {"label": name, "values": places, **spread}
