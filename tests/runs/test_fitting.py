"""Data that a teacher cannot be measured on are refused when a run is planned, before anything is read or begun."""

from pathlib import Path

import pytest

from dfkd_lab import data
from dfkd_lab.__main__ import main
from dfkd_lab.errors import SpecError
from dfkd_lab.runs.fitting import refuse_other_data
from dfkd_lab.spec import RunSpec
from dfkd_lab.sweeps import Sweep
from dfkd_lab.teachers import Card


def card(shape: tuple[int, int, int], classes: int, task: str = "classification") -> Card:
    return Card("some", classes, shape, (0.5,) * shape[0], (0.5,) * shape[0], task=task)


@pytest.mark.parametrize("name", [*data.TRAINING_SETS, "none"])
def test_a_teacher_is_measured_on_what_it_was_trained_for(name: str) -> None:
    row = data.find(name) or data.TRAINING_SETS["svhn"]
    spec = RunSpec(data=name, teacher="some.pth")
    refuse_other_data(spec, card(row.synthesis_shape, row.classes, row.task))


@pytest.mark.parametrize(
    ("name", "about", "sentence"),
    [
        ("cifar10", card((1, 16, 16), 10), "takes [1, 16, 16] and knows 10; allowed: digits, folder:PATH, none"),
        ("cifar10", card((3, 32, 32), 13), "takes [3, 32, 32] and knows 13; allowed: folder:PATH, none"),
        ("cifar100", card((3, 32, 32), 10), "of 100 classes, and teacher = 'some.pth' takes [3, 32, 32] and knows 10; "
         "allowed: cifar10, svhn, folder:PATH, none"),
        ("scenes", card((3, 64, 64), 11, "segmentation"), "knows 11; allowed: camvid, folder-pairs:PATH, none"),
        ("digits", card((1, 16, 16), 10, "segmentation"), "has a class for an image, and teacher = 'some.pth'"),
        ("folder-pairs:masks", card((1, 16, 16), 10), "data = 'folder-pairs:masks' has a class for a pixel"),
    ],
)  # fmt: skip
def test_other_images_other_classes_and_another_task_are_refused(name: str, about: Card, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        refuse_other_data(RunSpec(data=name, teacher="some.pth"), about)
    assert sentence in str(error.value)


def test_it_is_refused_before_anything_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "dafl", "--data", "svhn", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("data = 'svhn' has images [3, 32, 32] of 10 classes, and t")
    with pytest.raises(SpecError, match=r"1 of 2 runs are refused, .*\n  data = svhn: data = 'svhn' has images"):
        Sweep("two", {"data": ["svhn", "digits"]}, {"method": "dafl"}, tmp_path).prepare()
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_another_run_is_refused_before_it_is_said_to_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Sweep("of", {"seed": [0]}, {"method": "dafl", "rounds": 2, "data": "none"}, tmp_path).prepare()
    words = ["--rounds", "3", "--data", "none", "--out", str(tmp_path / "of" / "seed0")]
    assert main(["run", "dafl", *words]) == 2
    said = capsys.readouterr().err
    assert "holds a run of another spec (rounds: 2 -> 3)" in said
    assert said.count("\n") == 1
