"""Calibration: the expected calibration error against its literal twin, and which teachers are warned of."""

import math

import pytest
import torch
from torch import Tensor

from dfkd_lab.teachers.calibration import Calibration, calibration_error, logits_of


def literal_error(confidence: list[float], right: list[bool]) -> float:
    """Guo et al., eq. 3: sum over bins (m/15, (m+1)/15] of |bin| / n * |accuracy - confidence|."""
    total = 0.0
    for m in range(15):
        rows = [i for i, c in enumerate(confidence) if m / 15 < c <= (m + 1) / 15]
        if rows:
            accuracy = sum(right[i] for i in rows) / len(rows)
            total += len(rows) / len(confidence) * abs(accuracy - sum(confidence[i] for i in rows) / len(rows))
    return total


@pytest.mark.parametrize("n", [1, 7, 400])
def test_the_calibration_error_agrees_with_its_literal_twin(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    confidence, right = torch.rand(n, generator=generator), torch.rand(n, generator=generator) < 0.6
    found = calibration_error(confidence, right.float())
    assert found == pytest.approx(literal_error(confidence.tolist(), right.tolist()), abs=1e-6)


def test_the_calibration_error_of_extremes() -> None:
    assert calibration_error(torch.ones(5), torch.ones(5)) == 0
    assert calibration_error(torch.ones(5), torch.zeros(5)) == 1
    half = torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert calibration_error(torch.full((4,), 0.5), half) == 0


def sure(margin: Tensor, right: Tensor, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Logits [N, K] that lead by ``margin`` [N], and labels that are ``right`` [N] or the next class."""
    predicted = torch.arange(len(margin)) % classes
    logits = torch.zeros(len(margin), classes)
    logits[torch.arange(len(margin)), predicted] = margin
    return logits, torch.where(right, predicted, (predicted + 1) % classes)


def test_top1_top5_and_confidence_are_what_they_say() -> None:
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3], [9.0, 8, 7, 6, 5, 4, 3], [9.0, 8, 7, 6, 5, 4, 3]])
    found = Calibration.of(logits, torch.tensor([0, 4, 5]))
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.top5 == pytest.approx(2 / 3)
    assert found.confidence == pytest.approx(1 / sum(math.exp(-k) for k in range(7)))
    assert Calibration.of(logits[:, :3], torch.tensor([0, 1, 2])).top5 == 1


def test_a_network_at_the_optimum_of_smoothed_labels_is_warned_of() -> None:
    smoothing, classes = 0.1, 10
    margin = math.log(classes * (1 - smoothing) / smoothing + 1)  # where cross entropy to smoothed labels is least
    right = torch.arange(1000) % 100 >= 6
    found = Calibration.of(*sure(torch.full((1000,), margin), right))
    assert found.surest == pytest.approx(1 - smoothing + smoothing / classes)
    assert "mean confidence 0.910 at accuracy 0.940" in found.warning()
    assert "label smoothing" in found.warning()


def test_a_network_whose_surest_images_stay_below_one_is_warned_of_also_when_it_is_often_wrong() -> None:
    right = torch.arange(1000) % 10 >= 3
    found = Calibration.of(*sure(torch.full((1000,), 4.5), right))
    assert found.confidence > found.accuracy
    assert "0.909 on its surest images" in found.warning()


def test_a_network_trained_on_hard_labels_is_not_warned_of() -> None:
    margin, right = torch.linspace(1, 20, 1000), torch.arange(1000) > 60
    assert Calibration.of(*sure(margin, right)).warning() == ""


def test_accuracy_near_chance_is_warned_of() -> None:
    found = Calibration.of(*sure(torch.full((1000,), 20.0), torch.arange(1000) % 10 == 0))
    assert "accuracy 0.100 is close to chance" in found.warning()


def test_a_row_holds_the_figures_and_the_warning() -> None:
    found = Calibration(0.9, 0.99, 0.95, 0.999, 0.05, classes=10, n=450)
    assert found.row() == {
        "accuracy": 0.9, "top5": 0.99, "calibration_error": 0.05, "confidence": 0.95, "surest": 0.999, "warning": "",
    }  # fmt: skip


def test_logits_come_in_the_order_of_the_images_without_a_graph() -> None:
    layer, images = torch.nn.Linear(4, 3), torch.rand(7, 4)
    found = logits_of(layer, images, batch=3)
    assert torch.allclose(found, layer(images))
    assert not found.requires_grad
