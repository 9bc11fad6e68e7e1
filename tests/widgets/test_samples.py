import base64
from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import RunFolder, RunSpec
from dfkd_lab.runs.folder import prepare
from widgets import samples

PNG = b"not drawn here"


def facts(**changed: Any) -> dict[str, Any]:
    cell = {"row": 1, "column": 2, "asked": 1, "predicted": 1, "confidence": 0.974} | changed
    return {"rows": 2, "columns": 3, "width": 16, "height": 16, "cells": [cell]}


def test_an_image_has_its_place_in_the_one_png_and_its_confidence_in_words() -> None:
    html = samples.html(PNG, facts())
    assert html.count(base64.b64encode(PNG).decode()) == 1
    assert "background-position: -68px -34px" in html, "two cells of 16 px and a line to the right, twice as large"
    assert "<small>97</small>" in html
    assert "title='target class 1, the teacher sees 1 with confidence 97%'" in html
    assert "<th scope='row'>0</th><td><small>none</small></td>" in html
    assert "≠" not in samples.caption(7, facts()).replace("≠</span> marks", "")


def test_what_is_not_of_the_target_class_is_marked_and_counted() -> None:
    html = samples.html(PNG, facts(asked=5))
    assert "class='other'" in html
    assert "<small>97≠5</small>" in html
    assert "1 of 1" in samples.caption(7, facts(asked=5))


def test_where_there_was_no_target_nothing_is_marked() -> None:
    assert "class='other'" not in samples.html(PNG, facts(asked=None))
    assert "target" not in samples.caption(7, facts(asked=None))


@pytest.mark.parametrize(
    ("settings", "eased"),
    [
        ({"modulate": "confidence"}, True),
        ({"modulate": "target"}, False),
        ({"modulate": "confidence", "difficulty": False}, False),
    ],
)
def test_that_the_target_is_eased_off_is_said_of_runs_that_do_so(tmp_path: Path, settings: Any, eased: bool) -> None:
    folder = prepare(RunSpec("ssd_kd", teacher="digits", out=str(tmp_path / "run"), settings=settings))
    assert samples.eases_off(folder) is eased
    assert ("eases off" in samples.caption(7, facts(asked=5), eased)) is eased
    assert "eases off" not in samples.caption(7, facts(), eased), "there all are as asked"


def test_no_run_eases_off_its_target(tmp_path: Path) -> None:
    assert not samples.eases_off(None)
    assert not samples.eases_off(RunFolder(tmp_path / "none"))


def test_a_grid_from_before_its_cells_were_kept_is_a_picture() -> None:
    assert "<img" in samples.html(PNG, None)
