"""The report of a run: one HTML file that opens anywhere, offline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from dfkd_lab.errors import RunError
from dfkd_lab.runs import examination
from dfkd_lab.runs.folder import RunFolder, remark
from dfkd_lab.runs.records import verdict
from dfkd_lab.runs.timing import duration
from dfkd_lab.spec import record
from dfkd_lab.system.files import write_atomically
from widgets import class_figures, figures, sample_grid, series
from widgets.confusion import confusions
from widgets.memory_figure import buffer

STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --ground: #ffffff; --soft: #6a6f76; --line: #d9dce0; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6e9; --ground: #16181b; --soft: #9aa0a8; --line: #363a40; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground);
       max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead, figcaption { color: var(--soft); margin-top: .2rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 1rem; margin: 1.2rem 0; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
         overflow-wrap: anywhere; vertical-align: top; } th { font-weight: 500; width: 30%; }
img { image-rendering: pixelated; width: min(100%, 560px); }
figure { margin: 0; } .alarm { border-left: 4px solid #c77700; padding-left: .8rem; }
"""


def write(folder: RunFolder) -> Path:
    """Write ``report.html`` into the run folder, from what is there: a stopped run has a report too.

    Raises:
        RunError: if the folder cannot be read, or the file not be written.
    """
    path = folder.path / "report.html"
    try:
        write_atomically(path, page(folder).encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None
    return path


def page(folder: RunFolder) -> str:
    """The report as HTML; every name and text from the folder is escaped."""
    reports, manifest, result = folder.reports(), folder.manifest(), folder.result()
    method = manifest.get("method", {})
    teacher, student = manifest.get("teacher", {}), manifest.get("student", {})
    title = f"{method.get('name', '?')}: {teacher.get('name', '?')} to {student.get('net', '?')}"
    by_class = class_figures.by_class(reports, teacher.get("class_names", ()), teacher.get("iou", ()))
    charts = [
        ("Student and teacher", figures.curves(reports, teacher.get("accuracy"))),
        *([("Classes", by_class)] if teacher.get("task") == "segmentation" else []),
        *_examined(folder),
        ("Health, without labels", figures.health(reports)),
        ("Losses", figures.losses(reports)),
        ("Cost", figures.cost(reports)),
        ("Memory", buffer(reports, teacher.get("class_names", ()))),
    ]
    drawn = [_section(name, _chart(chart, first=index == 0)) for index, (name, chart) in enumerate(charts)]
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='lead'>Run {escape(folder.name)}, {escape(result['state'])} after round {result['rounds']}.</p>",
        f"<p class='alarm'>This run {escape(remark(folder))}.</p>" if remark(folder) else "",
        _headline(result, teacher, student),
        _alarms(reports),
        drawn[0],
        _section("Real images" if remark(folder) else "Synthetic images", _samples(folder)),
        *drawn[1:],
        _section("Settings", _table(_flat(record(folder.spec())))),
        _section("Certainty", f"<p>{escape(str(method.get('certainty', 'unknown')))}</p>"),
        _section("Data-free seal", _seal(folder.seal(), len(reports))),
        _section("Provenance", _table(_provenance(manifest))),
    ]
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    parts = "\n".join(body)
    return f"<!doctype html><html lang='en'><head>{head}<style>{STYLE}</style></head><body>{parts}</body></html>"


def _headline(result: Mapping[str, Any], teacher: Mapping[str, Any], student: Mapping[str, Any]) -> str:
    ours, theirs, what = student.get("parameters"), teacher.get("parameters"), result.get("metric", "accuracy")
    cells = {
        f"student {what}, last round": _fraction(result.get("last")),
        f"teacher {what}": _fraction(result.get("teacher")),
        "agreement, last round": _fraction(result.get("agreement")),
        series.MEAN_OVER_ROUNDS: _fraction(result.get("mu")),
        series.DEVIATION_OVER_ROUNDS: _fraction(result.get("sigma")),
        "best round (oracle: needs labels)": _fraction(result.get("oracle_best")),
        "time": duration(result["seconds"]),
        "student parameters": f"{ours:,}" if ours else "unknown",
        "teacher parameters": f"{theirs:,}" if theirs else "unknown",
        "teacher to student": f"{theirs / ours:.1f} : 1" if ours and theirs else "unknown",
    }
    rows = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in cells.items())
    return f"<dl>{''.join(rows)}</dl>"


def _examined(folder: RunFolder) -> list[tuple[str, go.Figure]]:
    """Which class is taken for which, if somebody examined the run."""
    found = examination.read(folder.path)
    return [(f"Confusion, examined after round {found.round}", confusions(found))] if found else []


def _alarms(reports: series.Reports) -> str:
    found: dict[str, list[int]] = {}
    for report in reports:
        for alarm in report.alarms:
            found.setdefault(alarm.split(" (")[0], []).append(report.round)
    rows = [
        f"<li>{escape(alarm)}: in {len(rounds)} of {len(reports)} rounds, last in round {rounds[-1]}</li>"
        for alarm, rounds in found.items()
    ]
    return f"<div class='alarm'><b>Alarms</b><ul>{''.join(rows)}</ul></div>" if rows else ""


def _samples(folder: RunFolder) -> str:
    samples = folder.samples()
    if not samples:
        return "<p>No round is finished yet.</p>"
    latest = max(samples)
    png, facts = sample_grid.read(samples[latest])
    words = sample_grid.caption(latest, facts, sample_grid.eases_off(folder))
    grid = sample_grid.html(png, facts, sample_grid.class_names(folder))
    return f"<figure>{grid}<figcaption>{words}</figcaption></figure>"


def _seal(seal: Mapping[str, Any], rounds: int) -> str:
    """What may be said of data-freeness, what was watched for that, and what cannot be seen."""
    if not seal:
        return "<p>No round of this run has a record of what it read yet.</p>"
    evaluation = seal.get("evaluation_set", "unknown")
    text = f"The distillation {verdict(seal, rounds)}. Evaluation set, measured outside of it: {evaluation}."
    session = (seal.get("sessions") or [{}])[-1]
    rows = {"Watched": session.get("watched", []), "Not watched": session.get("not_watched", {}).values()}
    lists = (f"<p>{name}:</p><ul>{_items(each)}</ul>" for name, each in rows.items() if each)
    return f"<p>{escape(text)}</p>{''.join(lists)}"


def _items(texts: Iterable[Any]) -> str:
    return "".join(f"<li>{escape(str(text))}</li>" for text in texts)


def _provenance(manifest: Mapping[str, Any]) -> dict[str, Any]:
    session = (manifest.get("sessions") or [{}])[-1]
    teacher = manifest.get("teacher", {})
    return {
        **{name: session.get(name) for name in ("started", "commit", "device", "threads")},
        "sessions": len(manifest.get("sessions", [])),
        "seed": manifest.get("seed"),
        **{f"teacher {name}": teacher.get(name) for name in ("sha256", "net", "recipe")},
        **_flat({"evaluation": manifest.get("evaluation") or "none"}),
        "versions": ", ".join(f"{name} {number}" for name, number in session.get("versions", {}).items()),
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, value in values.items():
        rows |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return rows


def _table(rows: Mapping[str, Any]) -> str:
    cells = (f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def _chart(figure: go.Figure, *, first: bool) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=first, config=figures.CONFIG))


def _fraction(value: float | None) -> str:
    return "not measured" if value is None or math.isnan(value) else f"{value:.3f}"
