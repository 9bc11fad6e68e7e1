"""What is measured has the value it has by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.engine.metrics import Accuracy, alarms, expected, health
from dfkd_lab.engine.report import Cost
from dfkd_lab.engine.schedules import cosine, learning_rate
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.observer import Observer


class Says(nn.Module):
    """Predicts the class written into the first pixel, with ``scale`` as its logit."""

    def __init__(self, classes: int, scale: float, shift: int = 0):
        super().__init__()
        self.classes, self.scale, self.shift = classes, scale, shift

    def forward(self, images: Tensor) -> Tensor:
        wanted = (images[:, 0, 0, 0] + self.shift).long() % self.classes
        return self.scale * nn.functional.one_hot(wanted, self.classes).float()


def written(labels: list[int]) -> Tensor:
    images = torch.zeros(len(labels), 1, 2, 2)
    images[:, 0, 0, 0] = torch.tensor(labels)
    return images


@pytest.mark.parametrize("batch", [0, 1, 3, 100])
def test_accuracy_is_the_share_of_right_answers_and_leaves_the_mode(batch: int) -> None:
    model = Says(4, 1.0).train()
    evaluate = Accuracy(written([0, 1, 2, 3, 0]), torch.tensor([0, 1, 2, 0, 1]), batch)
    assert evaluate(model) == pytest.approx(3 / 5)
    assert model.training
    assert evaluate(model.eval()) == pytest.approx(3 / 5)
    assert not model.training


def test_expected_accuracy_agrees_with_numpy() -> None:
    found = [0.1, 0.5, 0.9, 0.7]
    assert expected(found) == pytest.approx(
        {"last": 0.7, "mu": np.mean(found), "sigma": np.std(found), "oracle_best": np.max(found)}
    )
    assert expected([]) == {}
    assert expected([0.3])["sigma"] == 0


@pytest.mark.parametrize(("shift", "agreement"), [(0, 1.0), (1, 0.0)])
def test_health_in_closed_form(shift: int, agreement: float) -> None:
    observer = Observer(Frozen(Says(4, math.log(3)), [0.0], [1.0]), Says(4, 1.0, shift).train())
    values, seen = health(observer, written([0, 1, 2, 3]))
    # softmax of one logit log 3 and three of 0: 3/6 and 1/6; the four images cover the classes evenly
    assert seen.predicted.tolist() == [0, 1, 2, 3]
    assert seen.confidence.tolist() == pytest.approx([0.5] * 4)
    assert values["agreement"] == agreement
    assert values["confidence"] == pytest.approx(0.5)
    assert values["entropy"] == pytest.approx(math.log(4))
    # six pairs that differ by 1, 2, 3, 1, 2, 1 in one of four pixels
    assert values["distance"] == pytest.approx((1 + 2 + 3 + 1 + 2 + 1) / 6 / math.sqrt(4))
    assert "bn_gap" not in values
    assert observer.student.training


def test_health_measures_the_batch_norm_gap() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2))
    images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    values, _ = health(Observer(Frozen(net, [0.0], [1.0]), net), images)
    assert values["bn_gap"] == pytest.approx(
        float(images.mean().abs() + (images.var(correction=0) - 1).abs()), rel=1e-5
    )
    assert health(Observer(Frozen(net, [0.0], [1.0]), net), images[:1])[0]["distance"] == 0


@pytest.mark.parametrize(
    ("entropy", "distance", "terms", "said"),
    [
        (2.3, 0.3, {"gap": -0.1}, []),
        (2.3, 0.3, {"gap": 0.0, "kd": 1.0}, ["the loss 'gap' is exactly 0"]),
        (1.1, 0.3, {}, ["the images cover few classes (entropy 1.10 of 2.30 nats)"]),
        (2.3, 0.01, {}, ["the images are all alike (mean distance 0.010)"]),
    ],
)
def test_alarms_name_what_looks_wrong(
    entropy: float, distance: float, terms: dict[str, float], said: list[str]
) -> None:
    assert alarms({"entropy": entropy, "distance": distance}, terms, classes=10) == said


def test_seconds_are_those_of_every_phase_that_was_counted() -> None:
    cost: dict[str, Any] = {"images": 100, "synthesis_s": 1.0, "distillation_s": 2.0, "evaluation_s": 0.5, "s_steps": 7}
    assert Cost(**cost).seconds == 3.5
    assert Cost(**cost, writing_s=0.25).seconds == 3.75
    assert Cost().seconds == 0


def test_cosine_goes_from_start_to_floor() -> None:
    assert [cosine(share, 0.2, 0.1) for share in (0, 0.5, 1)] == pytest.approx([0.2, 0.15, 0.1])


def test_steps_fall_to_a_tenth_at_each_milestone_and_without_any_stay() -> None:
    assert [learning_rate(share, 1.0, milestones=(0.2, 0.4)) for share in (0, 0.19, 0.2, 0.4, 1)] == pytest.approx(
        [1, 1, 0.1, 0.01, 0.01]
    )
    assert learning_rate(0.9, 0.3, milestones=()) == 0.3
    assert learning_rate(0.5, 0.2, 0.1) == cosine(0.5, 0.2, 0.1)
