"""A recipe may start the student's weights as its paper does."""

import pytest
import torch
from torch import nn

from dfkd_lab import nets
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.methods.dfad import DFAD
from dfkd_lab.nets.wrap import Classifier, Frozen


def convnet() -> nn.Module:
    return nets.classifier("convnet_8", 1, 10)


def test_a_student_starts_as_the_recipe_says_from_the_runs_own_random_numbers() -> None:
    def student_of(seed: int, net: str) -> nn.Module:
        made = ComposedRun.of(
            DFAD(z_dim=4, width=4, batch=4), Frozen(convnet(), (0.5,), (0.25,)),
            lambda: Classifier(nets.classifier(net, 1, 10), (0.5,), (0.25,)),
            shape=(1, 16, 16), classes=10, rounds=1, seed=seed,
        )  # fmt: skip
        assert isinstance(made.student, Classifier)
        return made.student.net

    one, again, other = (student_of(seed, "resnet18").state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert float(one["layer4.1.conv2.weight"].std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    plain = student_of(1, "resnet8").state_dict()
    torch.manual_seed(1)
    assert all(
        torch.equal(plain[name], value) for name, value in nets.classifier("resnet8", 1, 10).state_dict().items()
    )
