import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dfkd_lab import RunFolder, RunSpec
from dfkd_lab.errors import DamagedFile
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.runs import contents, samples
from dfkd_lab.runs.folder import prepare
from widgets import sample_grid
from widgets.samples import Samples

PNG = b"not drawn here"


def facts(**changed: Any) -> dict[str, Any]:
    cell = {"row": 1, "column": 2, "asked": 1, "predicted": 1, "confidence": 0.974} | changed
    return {"rows": 2, "columns": 3, "width": 16, "height": 16, "cells": [cell]}


def test_an_image_has_its_place_in_the_one_png_and_its_confidence_in_words() -> None:
    html = sample_grid.html(PNG, facts())
    assert html.count(base64.b64encode(PNG).decode()) == 1
    assert "background-position: -68px -34px" in html, "two cells of 16 px and a line to the right, twice as large"
    assert "<small>97</small>" in html
    assert "title='target class 1, the teacher sees 1 with confidence 97%'" in html
    assert "<th scope='row'>0</th><td><small>none</small></td>" in html
    assert "0 of 1 miss their target" in sample_grid.caption(7, facts())


def test_what_is_not_of_the_target_class_is_marked_and_counted() -> None:
    html = sample_grid.html(PNG, facts(asked=5))
    assert "class='other'" in html
    assert "<small>97≠5</small>" in html
    assert "1 of 1 miss their target" in sample_grid.caption(7, facts(asked=5))


def test_where_there_was_no_target_nothing_is_marked() -> None:
    assert "class='other'" not in sample_grid.html(PNG, facts(asked=None))
    assert "target" not in sample_grid.caption(7, facts(asked=None))


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
    assert sample_grid.eases_off(folder) is eased
    assert ("eases off" in sample_grid.caption(7, facts(asked=5), eased)) is eased
    assert "eases off" not in sample_grid.caption(7, facts(), eased), "there all are as asked"


def test_no_run_eases_off_its_target(tmp_path: Path) -> None:
    assert not sample_grid.eases_off(None)
    assert not sample_grid.eases_off(RunFolder(tmp_path / "none"))


def test_a_grid_from_before_its_cells_were_kept_is_a_picture() -> None:
    assert "<img" in sample_grid.html(PNG, None)


def test_classes_that_have_names_are_called_by_them() -> None:
    html = sample_grid.html(PNG, facts(asked=0), ["cat", "<dog>"])
    assert "<th scope='row' title='cat'>0<small>cat</small></th>" in html
    assert "<th scope='row' title='&lt;dog&gt;'>1<small>&lt;dog&gt;</small></th>" in html
    assert "title='target class 0 (cat), the teacher sees 1 (&lt;dog&gt;) with confidence 97%'" in html
    assert "<small>97≠0</small>" in html


@pytest.mark.parametrize("names", [(), ("0", "1")])
def test_classes_without_names_are_numbers_once(names: tuple[str, ...]) -> None:
    html = sample_grid.html(PNG, facts(), names)
    assert "<th scope='row'>0</th>" in html
    assert "target class 1, the teacher sees 1 with" in html


def test_the_names_are_those_of_the_run_and_a_damaged_manifest_gives_none(tmp_path: Path) -> None:
    folder = prepare(RunSpec("kd", teacher="digits", out=str(tmp_path / "run")))
    assert sample_grid.class_names(folder) == ()
    manifest = folder.path / "manifest.json"
    manifest.write_text('{"teacher": {"class_names": ["cat", "dog"]}}')
    assert sample_grid.class_names(folder) == ("cat", "dog")
    manifest.write_text("{")
    assert sample_grid.class_names(folder) == ()


def test_an_enlarged_image_says_the_name_of_its_class(tmp_path: Path) -> None:
    batch = {"images": torch.rand(1, 1, 16, 16), "labels": torch.tensor([0]), "predicted": torch.tensor([1])}
    path = tmp_path / "grid.png"
    samples.write(path, ["cat", "dog"], samples.shown(Batch(**batch, confidence=torch.tensor([0.974]))))
    _, known = sample_grid.read(path)
    assert known is not None
    shown = sample_grid.of_cell(path, known["cells"], 0, None, ["cat", "dog"])
    assert shown.facts == {"the teacher sees": "class 1 (dog), 0.974", "target class": "0 (cat)"}
    assert shown.probabilities == [("class 1 (dog)", 0.974, None)]


def test_an_image_that_a_batch_has_twice_is_shown_once() -> None:
    images = torch.randint(0, 255, (5, 1, 4, 4)) / 255
    batch = Batch(images=images[[3, 0, 3, 4, 0]], labels=torch.tensor([3, 0, 3, 4, 0]), predicted=torch.arange(5) % 2)
    shown = samples.shown(batch)
    assert shown["labels"] is not None
    assert shown["labels"].tolist() == [3, 0, 4], "in their order"
    assert shown["predicted"] is not None
    assert shown["predicted"].tolist() == [0, 1, 1]
    assert shown["confidence"] is None


def test_of_many_classes_the_caption_says_which_are_shown() -> None:
    many = Batch(images=torch.zeros(60, 1, 4, 4), labels=torch.zeros(60).long(), predicted=torch.arange(60) % 30)
    assert "a row for each of the first 20 classes the teacher sees" in sample_grid.caption(
        1, samples.sample_facts(many, 30)
    )
    assert "a row for each class the teacher sees" in sample_grid.caption(1, facts())


def dense_facts(**changed: Any) -> dict[str, Any]:
    legend = [{"name": "sky", "color": [0, 0, 255]}]
    return {"height": 4, "width": 5, "images": 2, "legend": legend, "agreement": 0.5} | changed


@pytest.mark.parametrize(("damaged", "said"), [
    (dense_facts(images=3_000_000), "images = 3000000, not from 1 to 100"),
    (dense_facts(images=0), "images = 0, not from"),
    (dense_facts(height=0), "height = 0, not from"),
    (dense_facts(images=3), "its grid is 19 x 10 pixels, and not 19 x 16"),
    (dense_facts(legend=[{"name": "sky", "color": []}]), r"legend\[0\].color is not red, green and blue"),
    (dense_facts(legend=[{"name": "sky", "color": [0, 0, 256]}]), r"legend\[0\].color is not"),
    (dense_facts(agreement=1e9), "agreement is no fraction"),
    (facts(column=2**60), r"cells\[0\] is outside of the grid"),
    (facts(row=-1), r"cells\[0\] is outside of the grid"),
    (facts(predicted=-1), r"cells\[0\] has a class or a confidence that cannot be"),
    (facts(confidence=2.0), r"cells\[0\] has a class or a confidence that cannot be"),
    ({**facts(), "height": 0}, "height = 0, not from"),
    ({**facts(), "columns": 2**40}, "columns = 1099511627776, not from"),
    ({**facts(), "cells": facts()["cells"] * 2}, "two cells are in one place"),
    (facts(), "its grid is 19 x 10 pixels, and not 50 x 33"),
])  # fmt: skip
def test_what_no_run_writes_of_a_grid_is_a_sentence(tmp_path: Path, damaged: dict[str, Any], said: str) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "samples").mkdir()
    png = folder.sample(1)
    Image.new("RGB", (19, 10)).save(png)
    png.with_suffix(".json").write_text(json.dumps(dense_facts()))
    contents.sample(png.with_suffix(".json"))
    png.with_suffix(".json").write_text(json.dumps(damaged))
    with pytest.raises(DamagedFile, match=rf"{said}.*remove it, and the grid is shown without"):
        contents.sample(png.with_suffix(".json"))
    shown = Samples()
    shown.attach(folder)
    shown.refresh(0)
    assert "is damaged" in shown.caption.value
    shown.press("0")
    assert shown.grid.content == []
    png.with_suffix(".json").unlink()
    shown.refresh(0)
    assert "damaged" not in shown.caption.value, "it does as it says"
