"""A lesson in a real JupyterLab: its answers are folded away, and a keyboard opens them."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_workbench import CHROMIUM, TOKEN, context, page

__all__ = ["context", "page"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
SHOW_THE_LAST_CELL = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.context.ready;
    const last = panel.content.widgets.length - 1;
    panel.content.activeCellIndex = last;
    await panel.content.scrollToItem(last);
}"""


def test_an_answer_is_folded_away_until_a_key_opens_it(context: str, page: Page) -> None:
    page.goto(f"{context}/20_what_a_teacher_remembers.ipynb?token={TOKEN}&reset")
    page.wait_for_function("() => window.jupyterapp && window.jupyterapp.shell.currentWidget")
    page.evaluate(SHOW_THE_LAST_CELL)
    summaries = page.locator("li > details > summary")
    expect(summaries).to_have_text(["Answer to question 1", "Answer to question 2"])
    for number, key in enumerate(("Space", "Enter")):
        summaries.nth(number).focus()
        answer = page.locator("li > details").nth(number).locator("p").first
        expect(answer).to_be_hidden()
        page.keyboard.press(key)
        expect(answer).to_be_visible()
    summaries.first.focus()
    page.keyboard.press("Tab")
    expect(summaries.last).to_be_focused()
