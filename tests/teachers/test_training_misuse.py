"""Trainings that cannot go well are refused before they begin, and none goes on with other data than it began with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfkd_lab import RunFolder, Session, SpecError, plan
from dfkd_lab.__main__ import main
from dfkd_lab.errors import DamagedFile, RunError
from dfkd_lab.runs import contents
from dfkd_lab.teachers.teacher_spec import TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining

SIDE = 8


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pairs of images and masks of three classes."""
    for split in ("train", "val"):
        for number in range(6):
            write(tmp_path / "set" / split, number, number % 3)
    return tmp_path / "set"


def write(place: Path, number: int, level: int) -> None:
    mask = np.full((SIDE, SIDE), level, np.uint8)
    mask[:, :3] = 0
    for folder, pixels in (("images", np.full((SIDE, SIDE, 3), 60 * level + number, np.uint8)), ("masks", mask)):
        (place / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / folder / f"{number}.png")


@pytest.fixture
def spec(root: Path, tmp_path: Path) -> Callable[..., TeacherSpec]:
    def make(net: str = "unet_8", **more: Any) -> TeacherSpec:
        given = {"data": f"folder-pairs:{root}", "side": SIDE, "epochs": 4, "device": "cpu"}
        return TeacherSpec(net, **{**given, "out": str(tmp_path / "o.safetensors"), **more})

    return make


def begun(spec: TeacherSpec) -> TeacherSpec:
    """A training of one step."""
    training = TeacherTraining(spec)
    training.end()
    list(training)
    return spec


@pytest.mark.parametrize("change", ["another mask", "fewer", "more"])
def test_a_training_goes_on_with_the_data_it_began_with_or_not_at_all(
    change: str, spec: Callable[..., TeacherSpec], root: Path
) -> None:
    begun(spec())
    if change == "fewer":
        for folder in ("images", "masks"):
            (root / "train" / folder / "5.png").unlink()
    else:
        write(root / "train", 6 if change == "more" else 0, 2)
    with pytest.raises(RunError, match=r"was begun with other images or labels under the same name; put those back"):
        TeacherTraining(spec())


def test_what_cannot_be_trained_is_refused_before_the_first_step(spec: Callable[..., TeacherSpec], root: Path) -> None:
    with pytest.raises(SpecError, match=r"net: 'resnet8' is a network of classification, .* is for segmentation"):
        TeacherTraining(spec("resnet8"))
    with pytest.raises(SpecError, match=r"net: 'unet_8' is a network of segmentation, and data = 'digits' is"):
        TeacherTraining(spec("unet_8", data="digits", side=32))
    write(root / "val", 0, 4)
    with pytest.raises(SpecError, match=r"knows 3 classes, and a mask of the evaluation data has class 4"):
        TeacherTraining(spec())
    write(root / "val", 0, 0)
    for number in range(1, 6):
        for folder in ("images", "masks"):
            (root / "train" / folder / f"{number}.png").unlink()
    write(root / "train", 0, 2)
    with pytest.raises(SpecError, match=r"cannot be trained on batches of 1 images \[3, 8, 8\]"):
        TeacherTraining(spec("unet_12"))


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    spec: Callable[..., TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeacherTraining, "_read", lambda self: pytest.fail("read"))
    (tmp_path / "file").write_text("")
    (tmp_path / "d.safetensors").mkdir()
    (tmp_path / "e.safetensors.part.previous").mkdir()
    for out in ("file/o.safetensors", "d.safetensors", "e.safetensors", "\0.safetensors"):
        with pytest.raises(SpecError, match="out = "):
            TeacherTraining(spec(out=str(tmp_path / out)))


def test_two_trainings_do_not_write_one_file(spec: Callable[..., TeacherSpec]) -> None:
    first = iter(TeacherTraining(spec()))
    assert next(first).number == 1
    with pytest.raises(RunError, match="is being written by another training; let that one end, or give another --out"):
        list(TeacherTraining(spec()))
    del first
    assert len(list(TeacherTraining(spec()))) == 4


def test_both_files_of_a_training_are_named_where_both_are_damaged(spec: Callable[..., TeacherSpec]) -> None:
    path = begun(begun(spec())).checkpoint
    path.write_bytes(path.read_bytes()[:1000])
    previous = path.with_name(path.name + ".previous")
    previous.write_bytes(b"")
    with pytest.raises(RunError, match=rf"{path.name} and .*{previous.name} cannot be read .*; remove both"):
        TeacherTraining(spec())
    path.unlink()
    with pytest.raises(RunError, match=rf"{previous.name} cannot be read"):
        TeacherTraining(spec())


def test_half_a_letter_and_a_number_for_a_list_are_damage(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"teacher": {"name": "\\ud800"}}')
    with pytest.raises(DamagedFile, match="half of a letter"):
        contents.manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"teacher": {"name": "\\ud83d\\ude00"}}')
    assert contents.manifest(tmp_path)["teacher"]["name"] == "\N{GRINNING FACE}"
    start = '{"round": 1, "rounds": 1, "terms": {}, "student": {}, "health": {"agreement": 1, "entropy": 1, '
    line = start + '"confidence": 1}, "alarms": [], "accuracy": null, "cost": {}, "details": {"iou": 0.5}}'
    with pytest.raises(DamagedFile, match="iou"):
        contents.report(tmp_path, 1, line.encode())


def test_a_set_of_ones_own_has_the_settings_of_segmentation(scenes_teacher: str) -> None:
    assert plan(method="ssd_kd", teacher=scenes_teacher, student="unet_8", data="none").preset == "segmentation"


def test_maps_that_change_their_size_with_the_batch_end_the_run_in_a_sentence(
    tmp_path: Path, scenes_teacher: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, channels, classes):\n"
        "        super().__init__()\n        self.c = nn.Conv2d(channels, classes, 3, padding=1)\n"
        "    def forward(self, x):\n        y = self.c(x)\n        return y if len(x) < 4 else y[:, :, :5]\n"
    )
    given = {"method": "noise", "teacher": scenes_teacher, "student": "m.py:Net", "data": "none", "rounds": 1}
    with pytest.raises(RunError, match=r"the student failed on images \[32, 1, 32, 32\] .*its logits are"):
        list(Session(plan(**given, out="run")))
    assert RunFolder("runs/run").status()["state"] == "failed"
    assert main(["train-teacher", "unet_8", "--data", "digits", "--out", "t.safetensors"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("t.safetensors").exists()
