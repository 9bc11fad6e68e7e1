"""Data that networks of a segmentation are held against: other sizes, other marks, too few classes, more channels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfkd_lab import data, nets, plan, teachers
from dfkd_lab.data import registry
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.runs import samples
from dfkd_lab.teachers import dense
from dfkd_lab.teachers.teacher_spec import TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining, finished

CLASSES, CROP, LARGE = 11, (1, 32, 32), (1, 36, 40)


class Coarse(nn.Module):
    """Logits at an eighth of the size, enlarged eightfold: of images whose sides are no multiples of 8 too few."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.body, self.norm = nn.Conv2d(channels, 8, 8, 8, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.head(self.norm(self.body(x)).relu()), scale_factor=8)


@pytest.fixture
def rows() -> None:
    """A data set "large", measured at another size than it is learned at."""

    def read(train: bool) -> data.Split:
        draw = torch.Generator().manual_seed(int(train))
        images = torch.randint(256, (4, *LARGE), generator=draw, dtype=torch.uint8)
        labels = torch.randint(CLASSES, (4, *LARGE[1:]), generator=draw, dtype=torch.uint8)
        return data.Split(images, labels, tuple(map(str, range(CLASSES))), ignore=200)

    facts: dict[str, Any] = {"classes": CLASSES, "normalization": ((0.5,), (0.5,)), "presets": ("segmentation",)}
    facts |= {"shape": LARGE, "mirrors": False, "crop_padding": 0, "task": "segmentation", "ignore": 200}
    registry.ROWS["large"] = registry.DataSet(read=read, crop=CROP[1:], **facts)
    nets.register("coarse", Coarse)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as error:
        act()
    return str(error.value)


@pytest.mark.usefixtures("rows")
def test_networks_that_cannot_take_the_size_that_is_measured_are_refused_before_any_work(
    scenes_teacher: str, tmp_path: Path
) -> None:
    said = "gives [2, 11, 32, 40] for 2 images; allowed: logits [2, 11, 36, 40], so enlarge them with F.interpolate"
    given = {"method": "dafl", "teacher": scenes_teacher, "data": "large", "rounds": 1}
    assert f"student: 'coarse' {said}" in refusal(lambda: plan(**given, student="coarse"))
    assert plan(**{**given, "data": "scenes"}, student="coarse").teacher.card.shape == CROP
    card = teachers.Card("coarse", CLASSES, CROP, (0.5,), (0.5,), "large", task="segmentation")
    teachers.save(Classifier(Coarse(1, CLASSES), (0.5,), (0.5,)), card, tmp_path / "coarse.safetensors")
    teacher = teachers.load(tmp_path / "coarse.safetensors")
    split = data.evaluation_set("large")
    assert f"on the evaluation images the teacher {said}" in refusal(lambda: teachers.examine(teacher, split))
    spec = TeacherSpec("coarse", "large", epochs=1, device="cpu", out=str(tmp_path / "t.safetensors"))
    assert f"net: on the held-out images 'coarse' {said}" in refusal(lambda: TeacherTraining(spec))


@pytest.mark.parametrize(("label", "only"), [(200, "no class"), (0, "class 0"), (3, "class 3")])
def test_evaluation_data_of_fewer_than_two_classes_are_refused(scenes_teacher: str, label: int, only: str) -> None:
    """Of class 0 alone the mean without it is no number, and a log that has one cannot be read again."""
    labels = torch.full((2, *CROP[1:]), label)
    labels[0, 0] = 200
    split = data.Split(torch.zeros(2, *CROP, dtype=torch.uint8), labels, tuple("abcdefghijk"), ignore=200)
    said = refusal(lambda: teachers.examine(teachers.load(scenes_teacher), split))
    assert said == f"the masks of the evaluation data hold {only} and nothing but ignored pixels; mIoU needs two"


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
def test_images_of_any_number_of_channels_are_shown(tmp_path: Path, channels: int) -> None:
    images = torch.randint(256, (3, channels, 8, 9), dtype=torch.uint8)
    classes = torch.randint(3, (3, 8, 9))
    shown = samples.shown(Batch(images, predicted=classes), classes)
    samples.write(tmp_path / "dense.png", "abc", shown)
    wanted = images[:, :3] if channels > 2 else images[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(samples.read(tmp_path / "dense.png"), wanted)
    samples.write(tmp_path / "whole.png", "abc", samples.shown(Batch(images, predicted=torch.arange(3))))
    assert torch.equal(samples.read(tmp_path / "whole.png"), images if channels < 5 else images[:, :3])


def test_what_a_data_set_ignores_a_reference_ignores() -> None:
    images = torch.zeros(2, *CROP, dtype=torch.uint8)
    labels = torch.zeros(2, *CROP[1:], dtype=torch.uint8)
    labels[0, 0], labels[1, :5] = 200, 3
    for found in (
        dense.pieces(data.Split(images, labels, ignore=200), CROP),
        dense.pieces(data.Split(images.repeat(1, 1, 2, 1), labels.repeat(1, 2, 1), ignore=200), CROP),
    ):
        assert found.ignore == 255
        assert {*found.labels.unique().tolist()} <= {0, 3, 255}
        assert (found.labels == 255).any()


def test_a_batch_of_which_no_pixel_counts_teaches_nothing() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.full((2, 4, 4), 255, dtype=torch.uint8)
    loss = dense.loss(logits, labels, torch.tensor([1.0, 2.0, 3.0]), 255)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    labels[0, 1] = 2
    found, row = dense.loss(logits.detach(), labels, None, 255), logits.detach()[:1, :, 1]
    assert float(found) == pytest.approx(float(F.cross_entropy(row, labels[:1, 1].long())))


def test_a_side_that_nothing_is_fitted_to_is_refused(tmp_path: Path) -> None:
    said = refusal(lambda: finished(TeacherSpec("unet_8", "scenes", side=64, out=str(tmp_path / "t.safetensors"))))
    assert said == (
        "side = 64: images of data = 'scenes' have their own size; allowed with 'folder:PATH' and "
        "'folder-pairs:ROOT', whose images are fitted to it"
    )


def test_a_loss_is_lent_where_its_lender_fits_and_refused_for_its_own_sake(scenes_teacher: str) -> None:
    given = {"method": "fast", "teacher": scenes_teacher, "student": "unet_8", "data": "none", "rounds": 20}
    recipe = plan(**given, terms="attention=2").composed.recipe
    assert recipe.student_losses["attention"].weight == 2
    said = refusal(lambda: plan(**given, terms="student_label=1"))
    assert said.startswith("'student_label' reads a target class of the whole image, and this teacher labels every")
