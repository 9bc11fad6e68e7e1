import json
from typing import Any, cast

import numpy as np
import plotly.graph_objects as go
import pytest
from ipywidgets.widgets.widget import _instances

from dfkd_lab.engine.report import Report
from widgets import figures, form
from widgets.chart import LIBRARY, Chart


def many(rounds: int) -> list[Report]:
    health = dict.fromkeys(figures.HEALTH, 0.5)
    return [Report(n + 1, rounds, {}, {}, health, [], 0.5) for n in range(rounds)]


def test_the_state_is_the_whole_figure_and_says_so_once() -> None:
    chart = Chart(figures.curves(many(3), 0.9))
    assert chart.get_state(["figure"])["figure"] == figures.as_json(figures.curves(many(3), 0.9))
    assert chart.figure["config"]["showSendToCloud"] is False
    chart.show(figure := go.Figure(go.Bar(x=[1], y=[2])))
    assert chart.drawn is figure
    assert [trace["type"] for trace in chart.get_state(["figure"])["figure"]["data"]] == ["bar"]


def test_a_page_is_sent_the_library_when_it_asks_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(Chart, "send", lambda self, content, buffers: sent.append((content, buffers)))
    chart = Chart(go.Figure())
    assert sent == []
    assert len(cast(str, chart._esm)) < 5000
    chart._handle_custom_msg("something else", [])
    assert sent == []
    chart._handle_custom_msg("plotly.js", [])
    assert sent == [("plotly.js", [LIBRARY.read_bytes()])]


def test_a_drawing_is_kilobytes_however_long_the_run_is() -> None:
    state = Chart(figures.curves(many(100_000))).get_state(["figure"])
    assert len(json.dumps(state)) < 250_000


def test_numbers_travel_as_bytes() -> None:
    (trace,) = Chart(go.Figure(go.Scatter(y=np.ones(3, np.float32)))).figure["data"]
    assert trace["y"]["dtype"] == "f4"


def test_a_closed_chart_is_gone() -> None:
    before = set(_instances)
    form.close(Chart(go.Figure()))
    assert set(_instances) == before
