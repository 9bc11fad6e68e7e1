"""A page about all runs of a folder, as of a sweep: one HTML file that opens anywhere, offline, and while they run."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dfkd_lab.errors import RunError
from dfkd_lab.runs.folder import list_runs
from dfkd_lab.runs.timing import duration
from dfkd_lab.system.files import write_atomically
from widgets import figures, form, report
from widgets.compare.class_panels import by_class
from widgets.compare.figures import STYLE, cost_against_accuracy, overlay, results, settings
from widgets.compare.groups import Group, Run, chosen, grouped, to_csv
from widgets.compare.settings_figures import importance_figure, parallel

FILE, TABLE = "sweep.html", "sweep.csv"
WIDGETS, SCRIPTS = Path(__file__).parents[1], ("table.js", "page.js")
PAGE_STYLE = """
body { max-width: 1180px; }
td, th { width: auto; } #runs td, #runs th { white-space: nowrap; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid #3f86d8; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
#filter { font: inherit; padding: .2rem .5rem; margin-right: .8rem; background: var(--ground); color: var(--text);
          border: 1px solid var(--line); border-radius: 4px; }
.wide { overflow-x: auto; } .dfkd-table td, .dfkd-table th { overflow-wrap: normal; white-space: nowrap; }
[data-figure] text { text-shadow: none !important; }
"""


def write(root: Path | str) -> Path:
    """Write ``sweep.html``, and the table of results as ``sweep.csv``, into the folder that holds the run folders.

    Raises:
        RunError: if there is no run in it, or nothing can be written there.
    """
    root, runs, unreadable = Path(root), list[Run](), list[str]()
    for folder in list_runs(root):
        try:
            runs.append(Run.read(folder))
        except (RunError, ValueError) as error:
            unreadable.append(f"{folder.name}: {error}")
    if not runs and not unreadable:
        raise RunError(f"there is no run folder in {root}")
    try:
        write_atomically(root / FILE, html(root.name, runs, unreadable).encode(), shared=True)
        to_csv(grouped(runs), root / TABLE)
    except OSError as error:
        raise RunError(f"cannot write {root / FILE}: {error.strerror}") from None
    return root / FILE


def html(name: str, runs: Sequence[Run], unreadable: Sequence[str] = ()) -> str:
    """The page as HTML; every name and text is escaped."""
    groups = grouped(runs)
    states = Counter(str(run.result["state"]) for run in runs)
    lead = ", ".join(f"{count} {state}" for state, count in states.most_common())
    drawn = {
        "Curves": overlay(groups),
        "Cost": cost_against_accuracy(groups),
        **({"Classes": by_class(groups)} if any(each.iou for each in groups) else {}),
        "Importance of the settings": importance_figure(groups),
        **({"Every run": parallel(groups)} if len(groups) > 1 else {}),
    }
    charts = [_chart(title, f"figure{number}", each) for number, (title, each) in enumerate(drawn.items())]
    body = [
        f"<h1>{escape(name)}</h1>",
        f"<p class='lead'>{escape(lead)}; read {time.strftime('%Y-%m-%d %H:%M:%S %Z')}.</p>",
        "".join(f"<p class='alarm'>{escape(each)}</p>" for each in unreadable),
        f"{STYLE}<section>{results(groups)}</section>" if groups else "<p>No round is finished yet.</p>",
        *charts,
        f"<section><h2>Runs</h2>{_table(runs, groups)}</section>",
        f"<section>{settings(groups)}</section>" if groups else "",
        f"<script type='text/plain' id='plotly'>{_packed()}</script>",
        f"<script type='application/json' id='config'>{json.dumps(figures.CONFIG)}</script>",
        f"<script>{''.join((WIDGETS / name).read_text(encoding='utf-8') for name in SCRIPTS)}</script>",
    ]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(name)}</title>"
    style, parts = report.STYLE + PAGE_STYLE, "\n".join(body)
    return f"<!doctype html><html lang='en'><head>{head}<style>{style}</style></head><body>{parts}</body></html>"


def _chart(title: str, identity: str, figure: go.Figure) -> str:
    # "</script>" in a name would end it
    data = str(figure.to_json()).replace("<", "\\u003c")
    holder = f"<div data-figure='{identity}' role='img' aria-label='{escape(title)}'></div>"
    script = f"<script type='application/json' id='{identity}'>{data}</script>"
    return f"<section><h2>{escape(title)}</h2>{holder}{script}</section>"


def _table(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    """A row a run, which sorts by each of its columns and is found by its words."""
    named = chosen(groups)
    heads = ["run", *named, "seed", "state", "round", "accuracy", "agreement", "images", "time", "alarms"]
    rows = []
    for run in runs:
        found: Mapping[str, Any] = run.result
        alarms = sum(bool(each.alarms) for each in run.reports)
        cells = [
            _cell(run.name),
            *(_cell(run.settings.get(name)) for name in named),
            _cell(run.seed),
            _cell(found["state"]),
            _cell(found.get("rounds"), f"{found.get('rounds', 0)} of {run.settings.get('rounds', '?')}"),
            *(
                _cell(found.get(name), "–" if found.get(name) is None else f"{found[name]:.3f}")
                for name in ("last", "agreement")
            ),
            _cell(found.get("images"), f"{found.get('images', 0):,}"),
            _cell(found.get("seconds"), duration(found.get("seconds") or 0)),
            _cell(alarms, f"in {alarms} rounds" if alarms else "none"),
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th scope='col'><button>{escape(each)}</button></th>" for each in heads)
    find = "<label>find <input id='filter' type='search' placeholder='as in: fast seed0'></label>"
    count = f"<span id='shown' role='status'>{len(runs)} of {len(runs)} runs</span>"
    table = f"<table id='runs'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<p>{find}{count}</p><div class='wide'>{table}</div>"


def _cell(value: Any, shown: str | None = None) -> str:
    known = "" if value is None else str(value)
    text = shown if shown is not None else "–" if value is None else form.written(value)
    return f"<td data-value='{escape(known)}'>{escape(text)}</td>"


@cache
def _packed() -> str:
    """plotly.js, a third of its size."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9)).decode()
