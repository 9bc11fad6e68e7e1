"""A module and images of one's own: what the notebook on it relies on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dfkd_lab import Session, nets, plan, teachers
from dfkd_lab.engine.precision import channels_last
from dfkd_lab.errors import SpecError


def module(classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, classes))  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_any_module_can_be_distilled(precision: str, tmp_path: Path) -> None:
    model = module()
    teacher = teachers.adopt("mine", model, (1, 16, 16), 10, "digits", tmp_path)
    nets.register("my_student", lambda channels, classes: module(classes))
    settings = {"cycles": 2, "batch": 16, "width": 8, "z_dim": 8, "precision": precision}
    spec = plan(settings, method="dafl", rounds=2, teacher=teacher, student="my_student", out=str(tmp_path / "run"),
                device="cpu", precision="fp32")  # fmt: skip
    session = Session(spec)
    reports = list(session)
    assert len(reports) == 2
    images = torch.rand(3, 1, 16, 16)
    channels_last(model)  # as a run lays it out: what is compared to the last bit is computed in the same order
    expected = model.eval()((images - 0.3053) / 0.3312)
    tolerance = 0.0 if precision == "fp32" else 0.02
    torch.testing.assert_close(session.teacher.model(images).float(), expected, rtol=tolerance, atol=tolerance)
    assert session.folder.manifest()["student"]["net"] == "my_student"
    assert teachers.load(teacher).card.net == "mine"


def test_adopting_copies(tmp_path: Path) -> None:
    model: Any = module()
    teacher = teachers.adopt("mine", model, (1, 16, 16), 10, "digits", tmp_path)
    before = teachers.load(teacher).model(torch.ones(1, 1, 16, 16))
    nn.init.zeros_(model[0].weight)
    assert torch.equal(teachers.load(teacher).model(torch.ones(1, 1, 16, 16)), before)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "normalization", "sentence"),
    [
        ("resnet20", (1, 16, 16), 10, "digits", "network 'resnet20' is taken"),
        ("my net", (1, 16, 16), 10, "digits", "network 'my net' is no name"),
        ("mine", (3, 16, 16), 10, "cifar10", r"cannot take images \[2, 3, 16, 16\] \(RuntimeError: Given groups=1"),
        ("mine", (1, 16, 16), 7, "digits", r"gives \[2, 10\] for 2 images; allowed: logits \[2, 7\]"),
        ("mine", (1, 16, 16), 10, "digit", "did you mean 'digits'"),
    ],
)
def test_what_cannot_be_a_teacher_is_refused(
    name: str, shape: tuple[int, int, int], classes: int, normalization: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=sentence):
        teachers.adopt(name, module(), shape, classes, normalization, tmp_path)
    assert not list(tmp_path.iterdir())
