"""Figures and HTML tables of groups of runs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape, unescape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dfkd_lab.errors import SpecError
from dfkd_lab.spec import unknown
from widgets import figures, form
from widgets.compare.groups import HINTS, RESULTS, Group, differing, metric, rows
from widgets.figures import COLORS, TEXT
from widgets.series import accuracy, agreement, column
from widgets.wording import without_folders

COSTS = {
    "images": "images synthesized or given",
    "teacher_queries": "teacher queries (images)",
    "seconds": "seconds",
    "s_steps": "student steps",
}
"""What accuracy can be drawn against."""

NOTHING = "Nothing is chosen, or nothing of it has finished a round yet."
ONE = "One run is chosen; beside another one, the settings in which they differ stand here."
ALIKE = "All chosen runs have the same settings but the seed."
DASHES, SYMBOLS = ("solid", "dot", "dashdot", "longdash"), ("circle", "square", "diamond", "cross")
LONGEST_LINE = 56
"""Letters of a legend's entry beside each other; it is as wide as that on a page of 620 px."""
PANEL_PX = 340
"""Height of a panel beside its legend."""
MOST_POINTS, FEWEST_POINTS = 2000, 40  # of all lines together, and of one: a still figure stays some kilobytes
SHARE = {"autorangeoptions": {"clipmin": 0, "clipmax": 1.03}}
"""An axis of accuracies: around a single point it would go up to 1.5."""
FROM_NOTHING = {"rangemode": "tozero", "autorangeoptions": {"include": 5}}
"""An axis of what is counted: around a single point, or few of them, its ticks would be halves."""

LINE = "1px solid rgba(128, 128, 128, 0.35)"
STYLE = f"""<style>
.dfkd-table {{ overflow-x: auto; line-height: 1.4; }}
.dfkd-table::-webkit-scrollbar {{ height: 9px; }}
.dfkd-table::-webkit-scrollbar-thumb {{ background: rgba(128, 128, 128, 0.5); border-radius: 4px; }}
.widget-html:has(.dfkd-table), .widget-html-content:has(.dfkd-table) {{ min-width: 0; max-width: 100%; }}
.dfkd-table table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 0; }}
.dfkd-table th, .dfkd-table td {{ text-align: left; vertical-align: top; padding: 3px 14px 3px 0; border-bottom: {LINE};
  white-space: nowrap; }}
.dfkd-table th {{ font-weight: 600; white-space: normal; min-width: 4em; }}
.dfkd-table tr {{ background: none !important; }}
.dfkd-table small {{ font-size: 13px; opacity: 0.75; white-space: normal; }}
.dfkd-runs select {{ font-family: var(--jp-code-font-family, monospace); font-size: 13px; padding-block: 0; }}
</style>"""


def overlay(groups: Sequence[Group]) -> go.Figure:
    """Student accuracy by evaluated round: the mean over seeds as a line, from lowest to highest seed as a band."""
    figure = go.Figure()
    most = max(FEWEST_POINTS, MOST_POINTS // max(1, len(groups)))
    for index, each in enumerate(groups):
        figure.add_traces(_curve(each, index, most))
    longest = max((len(run.reports) for each in groups for run in each.runs), default=0)
    known = {
        f"teacher {without_folders(run.teacher)} {run.result['teacher']:.3f}": run.result["teacher"]
        for each in groups
        for run in each.runs
        if run.result["teacher"] is not None
    }
    for name, level in known.items():
        line = {"color": TEXT, "dash": "dash", "width": 1.5}
        ends = np.asarray([1, max(longest, 2)], np.float32)
        figure.add_trace(
            go.Scatter(x=ends, y=np.full_like(ends, level), name=escape(name, quote=False), mode="lines", line=line)
        )
    figure.update_xaxes(**figures.by_round(1, longest))
    figure.update_yaxes(title_text=_unit(groups), **SHARE)
    with_legend(figure, groups)
    return figure.update_layout(legend_title_text="line: mean over n seeds; band: lowest to highest seed")


def cost_against_accuracy(groups: Sequence[Group], by: str = "images") -> go.Figure:
    """Accuracy of the last round against what it cost, ``by`` one of ``COSTS``: a point a run, a color a group.

    Raises:
        SpecError: if ``by`` is no cost.
    """
    if by not in COSTS:
        raise SpecError("by: " + unknown(by, COSTS, "cost"))
    figure = go.Figure()
    for index, each in enumerate(groups):
        metric = "last" if each.measured else "agreement"
        shown = [run for run in each.runs if {metric, by} <= run.result.keys()]
        symbol = SYMBOLS[index // len(COLORS) % len(SYMBOLS)] + ("" if each.measured else "-open")
        figure.add_scatter(
            x=[run.result[by] for run in shown],
            y=[run.result[metric] for run in shown],
            customdata=[escape(run.name, quote=False) for run in shown],
            hovertemplate="%{customdata}<br>%{y:.3f} at %{x:,.0f}<extra></extra>",
            name=each.title,
            mode="markers",
            marker={"color": COLORS[index % len(COLORS)], "symbol": symbol, "size": 10, "opacity": 0.8},
        )
    spent = [value for each in groups for value in each.values(by)]
    wide = bool(spent) and min(spent) > 0 and max(spent) > 8 * min(spent)
    scale = {"type": "log"} if wide else {"type": "linear", **FROM_NOTHING}
    figure.update_xaxes(title_text=COSTS[by] + (", log scale" if wide else ""), **scale)
    figure.update_yaxes(title_text=f"{_unit(groups)}, last round", **SHARE)
    with_legend(figure, groups)
    return figure.update_layout(legend_title_text="a point a run, a color a setting")


def results(groups: Sequence[Group]) -> str:
    """The table of results as HTML: mean ± standard deviation over seeds."""
    heads = [
        "runs",
        "n",
        "seeds",
        "state",
        "rounds",
        *(_head(name, text.replace("accuracy", metric(groups))) for name, text in RESULTS.items()),
        "device",
        "commit",
    ]
    lines = [
        [
            f"{escape(row['label'])}<br><small>{escape(row['remark'])}</small>"
            if row["remark"]
            else _text(row["label"]),
            *(_text(row[name]) for name in ("n", "seeds", "state", "rounds")),
            *(_spread(row[name], row[f"{name}_sd"]) for name in RESULTS),
            *(_text(row[name]) for name in ("device", "commit")),
        ]
        for row in rows(groups)
    ]
    note = "Mean ± standard deviation over n seeds. Seconds are those of that device, with what else ran on it."
    again = [
        f"{each.label} repeats seeds of {first.label}: same settings, so not counted into its n."
        for each in groups
        if (first := next(other for other in groups if other.settings == each.settings)) is not each
    ]
    return html_table("Results", heads, lines, " ".join([note, *map(_text, again)]))


def settings(groups: Sequence[Group]) -> str:
    """Only the settings that differ, a column a group; what only some methods have, always alike, is folded away."""
    found = differing(groups)
    if not found:
        alone = sum(len(each.runs) for each in groups) == 1
        return f"<p>{ONE if alone else ALIKE}</p>"
    heads = ["setting", *(_text(each.label) for each in groups)]
    lines = {name: [_text(name), *_settings(name, values)] for name, values in found.items()}
    here = [line for name, line in lines.items() if len({*map(repr, found[name])} - {"None"}) > 1]
    there = [line for line in lines.values() if line not in here]
    table = html_table("Settings that differ", heads, here) if here else ""
    if not there:
        return table
    rest = html_table("", heads, there)
    return f"{table}<details><summary>{len(there)} settings that only some of them have</summary>{rest}</details>"


def sentences(texts: Sequence[str]) -> str:
    """Texts as HTML, a line each."""
    return "".join(f"<div>{_text(text)}</div>" for text in texts)


def _unit(groups: Sequence[Group]) -> str:
    return "fraction of images" if metric(groups) == "accuracy" else _text(metric(groups))


def _head(name: str, text: str) -> str:
    """A column's head, with what its name does not say where the pointer rests."""
    return f"<span title='{_text(HINTS[name])}'>{_text(text)}</span>" if name in HINTS else _text(text)


def wrapped(name: str) -> str:
    """A legend's entry, escaped before and after, in lines that a narrow page has room for."""
    return "<br>".join(escape(line, quote=False) for line in textwrap.wrap(unescape(name), LONGEST_LINE))


def _settings(name: str, values: Sequence[Any]) -> list[str]:
    """A cell a value; a teacher without its folders where that tells the teachers apart, its path under the pointer."""
    given = ["–" if value is None else form.written(value) for value in values]
    short = [without_folders(each) if name == "teacher" else each for each in given]
    if len({*short}) < len({*given}):
        short = given
    return [
        _text(each) if each == whole else f"<span title='{_text(whole)}'>{_text(each)}</span>"
        for each, whole in zip(short, given, strict=True)
    ]


def _text(value: Any) -> str:
    return escape(str(value))


def _spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "–"
    form_ = ".3f" if abs(mean) < 2 else ",.1f" if deviation else ",.0f"
    return f"{mean:{form_}} ± {deviation:{form_}}" if deviation else f"{mean:{form_}}"


def html_table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]], note: str = "") -> str:
    """A table of heads and cells that are HTML already; it scrolls by itself where it is too wide."""
    head = "".join(f"<th scope='col'>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    caption = f"<h3>{title}</h3>" if title else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='dfkd-table'>{caption}{table}<small>{note}</small></div>"


def _curve(group: Group, index: int, most: int) -> list[go.Scatter]:
    """A band, for more than one seed, and the line in it."""
    value = accuracy if group.measured else agreement
    length = max(len(run.reports) for run in group.runs)
    values = np.ma.masked_all((len(group.runs), length), np.float32)
    for row, run in zip(values, group.runs, strict=True):
        row[: len(run.reports)] = np.ma.masked_invalid(column(run.reports, value))
    known = np.flatnonzero(values.count(0))
    keep = known[np.linspace(0, len(known) - 1, min(len(known), most)).round().astype(int)]
    rounds, values = (keep + 1).astype(np.float32), values[:, keep]
    low, middle, high = (
        each.filled(np.nan).astype(np.float32) for each in (values.min(0), values.mean(0), values.max(0))
    )
    color = COLORS[index % len(COLORS)]
    line = go.Scatter(
        x=rounds,
        y=middle,
        customdata=values.count(0).astype(np.int16),
        hovertemplate="round %{x}: %{y:.3f}, n = %{customdata}",
        name=f"{group.title} (n = {len(group.runs)})",
        legendgroup=str(index),
        mode="lines+markers" if len(keep) <= 60 else "lines",
        line={"color": color, "width": 2, "dash": DASHES[index // len(COLORS) % len(DASHES)]},
        marker={"size": 4},
    )
    if len(group.runs) == 1:
        return [line]
    band = go.Scatter(
        x=np.concatenate([rounds, rounds[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        fill="toself",
        fillcolor=color,
        opacity=0.18,
        mode="none",
        legendgroup=str(index),
        showlegend=False,
        hoverinfo="skip",
    )
    return [band, line]


def with_legend(figure: go.Figure, groups: Sequence[Group]) -> None:
    """The look of all figures, with the legend below, where it can be long."""
    for trace in figure.data:
        trace.name = wrapped(trace.name) if trace.name else None
    below = 84 + figures.legend_height([trace.name for trace in figure.data if trace.showlegend is not False])
    figures.themed(
        figure,
        PANEL_PX + below,
        labels=bool(groups),
        margin={"l": 56, "r": 12, "t": 12, "b": below},
        legend={
            "yref": "container",
            "yanchor": "bottom",
            "y": 0,
            "maxheight": below,
            "title": {"side": "top"},
        },
        showlegend=bool(groups),
    )
    if not groups:
        place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.6, "showarrow": False}
        figure.add_annotation(text=NOTHING, font={"color": TEXT, "size": 14}, **place)
