"""The button "Examine this run", what the views show then, and a click on a sample."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab import RunFolder
from dfkd_lab.runs import examination, examine
from dfkd_lab.runs import samples as grids
from tests.support import finished
from tests.widgets.test_confusion import COUNTS, found
from widgets import confusion, enlarged, examining, live, report, sample_grid, samples, views
from widgets.pressable import markup

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run whose memory keeps images; tests only read it."""
    return finished(tmp_path_factory.mktemp("examined") / "kept")


@pytest.fixture
def mine(kept: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(shutil.copytree(kept.path, tmp_path / "mine"))


def test_a_click_examines_the_run_and_the_figure_follows(mine: RunFolder, make_folder: Any) -> None:
    shown = live.Live()
    shown.attach(mine)
    shown.refresh()
    assert shown.examining.widget.layout.display == "none"
    shown.view.value = views.BY_CLASS
    assert shown.examining.widget.layout.display is None
    assert shown.chart.drawn.layout.annotations[-1].text == confusion.NOT_EXAMINED
    assert "does not disturb it" in shown.examining.message.value
    shown.examining.button.click()
    assert examining.WORKING in shown.examining.message.value
    assert shown.examining.button.disabled
    child = shown.examining.command.children[mine.path]
    shown.attach(make_folder("other"))
    shown.refresh()
    assert not shown.examining.button.disabled, "another run can be examined meanwhile"
    child.wait()
    shown.attach(mine)
    shown.refresh()
    assert [trace.type for trace in shown.chart.drawn.data] == ["bar", "heatmap", "bar", "heatmap"]
    assert shown.chart.figure["layout"]["height"] == confusion.HEIGHT_OF_TWO
    assert "Examined after round 2 of 2: student right in" in shown.examining.message.value
    assert shown.examining.browser.widget.layout.display is None
    assert not shown.examining.button.disabled
    shown.view.value = "cost"
    assert shown.examining.widget.layout.display == "none"
    shown.close()


def test_the_report_has_what_was_examined(mine: RunFolder) -> None:
    assert "<h2>Confusion" not in report.page(mine)
    examine(mine)
    assert "<h2>Confusion, examined after round 2</h2>" in report.page(mine)


def test_why_it_was_refused_is_said_once(mine: RunFolder) -> None:
    shown = examining.Examining()
    shown.attach(mine)
    (mine.path / "checkpoint.pt").write_bytes(b"damaged")
    shown.begin()
    shown.command.children[mine.path].wait()
    assert not shown.refresh(2, shown=True)
    assert "checkpoint.pt is damaged" in shown.message.value
    assert "role='alert'" in shown.message.value
    assert shown.message.value.count("damaged") == 1


def test_there_is_nothing_to_examine_before_a_student_is_saved(mine: RunFolder) -> None:
    shown = examining.Examining()
    assert shown.message.layout.margin.split()[1] != "0", "the samples stand to its right"
    shown.refresh(0, shown=True)
    assert shown.widget.layout.display == "none", "no run"
    shown.attach(mine)
    for name in ("checkpoint.pt", "student.safetensors"):
        (mine.path / name).unlink()
    shown.refresh(0, shown=True)
    assert shown.button.disabled
    assert examining.TOO_EARLY in shown.message.value


def test_a_damaged_file_is_a_sentence_and_no_examination(mine: RunFolder) -> None:
    examine(mine)
    shown = examining.Examining()
    shown.attach(mine)
    assert shown.refresh(2, shown=True)
    assert not shown.refresh(2, shown=True), "nothing new"
    (mine.path / examination.FILE).write_bytes(b"damaged")
    assert shown.refresh(2, shown=True)
    assert shown.found is None
    assert "examination.safetensors is damaged" in shown.message.value


@pytest.mark.parametrize(
    ("round", "words"), [(3, ""), (7, "has gone on since, to round 7"), (1, "was begun again since")]
)
def test_it_says_whether_the_run_has_gone_on(round: int, words: str) -> None:
    text = examining.about(found(COUNTS, None, ("a", "b", "c"), remarks=("it has no images",)), round)
    assert text.startswith(
        "Examined after round 3 of 4: student right in 0.842 of the evaluation images; it has no images."
    )
    assert words in text


def test_of_a_segmentation_the_shares_are_of_pixels() -> None:
    text = examining.about(found(COUNTS, COUNTS, ("a", "b", "c"), task="segmentation"), 3)
    assert "student right in 0.842 of the pixels of the evaluation images" in text
    assert "agree in 0.842 of the pixels of the synthetic images" in text


def test_a_click_on_a_sample_enlarges_it_as_far_as_its_json_knows(mine: RunFolder) -> None:
    shown = samples.Samples()
    shown.attach(mine)
    shown.refresh(0)
    html = markup(*shown.grid.content)
    assert "data-press='0'" in html
    shown.press("0")
    html = markup(*shown.grid.content)
    assert "<td class='student'>unknown</td>" in html
    assert sample_grid.UNEXAMINED.replace('"', "&quot;") in html or sample_grid.UNEXAMINED in html
    shown.press("back")
    assert "data-focus='yes'" in markup(*shown.grid.content)


def test_a_sample_that_is_in_the_memory_has_what_both_networks_say(mine: RunFolder) -> None:
    examine(mine)
    known = examination.read(mine.path)
    images = grids.read(mine.samples()[2])
    place = next(at for at, image in enumerate(images) if image.numpy().tobytes() in known.images.places)
    shown = samples.Samples()
    shown.attach(mine)
    shown.refresh(0)
    shown.press(str(place))
    assert enlarged.UNKNOWN in markup(*shown.grid.content)
    shown.know(known)
    html = markup(*shown.grid.content)
    at = known.images.places[images[place].numpy().tobytes()]
    assert torch.equal(known.images.images[at], images[place])
    assert f"<td class='student'>{float(known.images.student[at, 0]):.3f}" in html
    assert "last loss" in html


def test_an_enlarged_sample_stays_while_the_run_goes_on(mine: RunFolder) -> None:
    first, second = (mine.samples()[number] for number in (1, 2))
    aside = [(file, file.with_name(f"aside{file.suffix}")) for file in (second, second.with_suffix(".json"))]
    for file, to in aside:
        file.rename(to)
    shown = samples.Samples()
    shown.attach(mine)
    shown.refresh(0)
    shown.press("0")
    opened = shown.grid.content
    for file, to in aside:
        to.rename(file)
    shown.refresh(0)
    assert shown.grid.content == opened
    shown.press("back")
    assert shown.round.value == 2
    assert "Round 2" in shown.caption.value
    assert first.exists()


def test_a_grid_that_is_not_as_its_json_says_is_a_sentence(mine: RunFolder) -> None:
    shown = samples.Samples()
    file = mine.samples()[2]
    facts = json.loads(file.with_suffix(".json").read_text())
    facts["cells"][0]["row"] = 500
    file.with_suffix(".json").write_text(json.dumps(facts))
    shown.attach(mine)
    shown.refresh(0)
    shown.press("0")
    assert "cells[0] is outside of the grid" in shown.caption.value
    assert shown.grid.content == []
