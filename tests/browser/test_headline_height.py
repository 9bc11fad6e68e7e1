"""The headline in a real page: as high in every state of a run, so that nothing below it jumps."""

from collections.abc import Sequence
from typing import Any

import pytest
from playwright.sync_api import Page

from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.runs import records
from tests.browser.test_workbench import CHROMIUM, page
from widgets import headline

__all__ = ["page"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
ROUNDS = 200
VERDICT = records.verdict({"sessions": [{"sealed_rounds": ROUNDS}]}, ROUNDS)
COMPILING = "compiling the networks; the first time here that takes a minute or more"


def reported(round: int, s_steps: int, accuracy: float | None) -> list[Report]:
    cost = Cost(images=round * 256, teacher_queries=round * 12_800, s_steps=s_steps, distillation_s=900.0 * round)
    return [Report(round, ROUNDS, {}, {}, {"agreement": 0.684}, [], accuracy, cost=cost)]


STATES: list[tuple[dict[str, Any], Sequence[Report], int]] = [
    ({"state": "starting", "message": "a first run also trains its teacher"}, [], 0),
    ({"state": "running", "message": COMPILING}, [], 0),
    ({"state": "running"}, reported(1, 0, None), 0),
    ({"state": "running"}, reported(12, 40, 0.512), 0),
    ({"state": "paused"}, reported(120, 4000, None), 2),
    ({"state": "stopped", "message": "stopped on request; it can go on from there"}, reported(120, 4000, 0.6), 0),
    ({"state": "finished", "message": f"the distillation {VERDICT}"}, reported(ROUNDS, 8000, 0.784), 3),
]


@pytest.mark.parametrize("width", [1280, 900, 620])
def test_the_headline_is_as_high_in_every_state(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    heights = set()
    for now, reports, alarms in STATES:
        page.set_content(headline.html({"round": 0, "rounds": ROUNDS, **now}, reports, 0.926, alarms))
        heights.add(page.evaluate("() => document.querySelector('.dfkd-headline').getBoundingClientRect().height"))
    assert len(heights) == 1
