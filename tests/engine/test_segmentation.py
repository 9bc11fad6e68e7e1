"""Dense prediction: every loss, signal and measure where logits are [N, K, H, W], and H = W = 1 is classification."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import jaccard_score
from torch import Tensor, nn

from dfkd_lab.engine import metrics
from dfkd_lab.engine.segmentation import Segmentation, confusion, scores
from dfkd_lab.methods.ssd_kd import Modulation
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.batch import Batch, class_and_shares, class_shares, of_images
from dfkd_lab.primitives.memories import ImageBuffer, PriorityBuffer
from dfkd_lab.primitives.observer import Observation, Observer
from dfkd_lab.primitives.synthesizers.base import Best

N, K, H, W = 3, 5, 4, 6
LOSSES: dict[str, losses.LossFunction] = {
    "confidence": losses.confidence,
    "balance": losses.balance(),
    "kl": losses.kl(2.0),
    "l1": losses.l1,
    "js": losses.js(),
    "released js": losses.js(form="released"),
    "bounded": losses.bounded(losses.kl(), 0.5),
    "adversarial": losses.adversarial(losses.kl()),
    "agreeing": losses.adversarial(losses.kl(), agreeing=True),
    "agreeing, bounded": losses.adversarial(losses.l1, agreeing=True, bound=0.4),
    "student_label": losses.student_label,
}


@pytest.fixture
def dense() -> Observation:
    draw = torch.Generator().manual_seed(0)
    logits, student = (2 * torch.randn(N, K, H, W, generator=draw) for _ in range(2))
    student = torch.where(torch.rand(N, 1, H, W, generator=draw) < 0.5, logits + 0.3 * student, student)
    labels = torch.randint(0, K, (N, H, W), generator=draw)
    return Observation(torch.zeros(N, 1, H, W), logits, labels, student)


def pixel(observation: Observation, row: int, column: int) -> Observation:
    """What a classifier would say that saw this pixel alone."""
    assert observation.student is not None
    assert observation.labels is not None
    at = (..., row, column)
    return Observation(
        observation.images, observation.logits[at], observation.labels[at], student=observation.student[at]
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_an_image_is_the_mean_of_what_it_is_for_each_pixel(name: str, dense: Observation) -> None:
    loss = LOSSES[name]
    if name == "balance":
        mean = torch.stack([pixel(dense, r, c).logits.softmax(1).mean(0) for r in range(H) for c in range(W)]).mean(0)
        assert float(loss(dense)) == pytest.approx(float((mean * mean.log()).sum()))
        return
    each = torch.stack([loss(pixel(dense, row, column)) for row in range(H) for column in range(W)])
    assert loss(dense).shape == (N,)
    torch.testing.assert_close(loss(dense), each.mean(0))


@pytest.mark.parametrize("name", LOSSES)
def test_a_classification_is_a_map_of_one_pixel(name: str, dense: Observation) -> None:
    one = pixel(dense, 0, 0)
    assert one.labels is not None
    assert one.student is not None
    as_map = Observation(
        one.images, one.logits[..., None, None], one.labels[:, None, None], one.student[..., None, None]
    )
    torch.testing.assert_close(LOSSES[name](as_map), LOSSES[name](one))


def test_a_kl_is_a_mean_over_pixels_not_the_fields_batchmean(dense: Observation) -> None:
    assert dense.student is not None
    summed = F.kl_div(dense.student.log_softmax(1), dense.logits.log_softmax(1), log_target=True, reduction="batchmean")
    assert float(losses.kl()(dense).mean()) == pytest.approx(float(summed) / (H * W), rel=1e-5)


def test_a_pixel_that_counts_nowhere_costs_the_student_nothing(dense: Observation) -> None:
    assert dense.labels is not None
    before, alone = losses.student_label(dense), losses.student_label(pixel(dense, 0, 0))
    dense.labels[0, 0, 0] = 255
    after = losses.student_label(dense)
    assert float(after[0]) == pytest.approx(float(before[0] - alone[0] / (H * W)))
    torch.testing.assert_close(after[1:], before[1:])


def test_shares_and_classes_of_images() -> None:
    logits = torch.zeros(2, 3, 2, 2)
    logits[0, 1, :, 0] = 9
    logits[0, 2, :, 1] = 5  # as many pixels, and less sure
    logits[1, 0] = 9
    predicted, shares = class_and_shares(logits)
    assert shares is not None
    assert predicted.tolist() == [1, 0]
    torch.testing.assert_close(shares, of_images(logits.softmax(1)))
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    torch.testing.assert_close(class_shares(logits.softmax(1)), shares.mean(0))
    flat = torch.randn(4, 3)
    assert class_and_shares(flat)[0].tolist() == flat.argmax(1).tolist()
    assert class_and_shares(flat)[1] is None
    assert of_images(flat) is flat


@pytest.mark.parametrize("ignore", [None, 255])
def test_iou_is_that_of_a_kept_library(ignore: int | None) -> None:
    draw = torch.Generator().manual_seed(1)
    predicted, labels = (torch.randint(0, K, (7, H, W), generator=draw) for _ in range(2))
    if ignore is not None:
        labels[torch.rand(labels.shape, generator=draw) < 0.2] = ignore
    found = scores(confusion(predicted, labels, K, ignore))
    counted = labels != (-1 if ignore is None else ignore)
    theirs = jaccard_score(labels[counted].numpy(), predicted[counted].numpy(), average=None)
    assert found["iou"] == pytest.approx(theirs.tolist())
    assert found["mIoU"] == pytest.approx(theirs.mean())
    assert found["without_first"] == pytest.approx(theirs[1:].mean())
    assert found["pixel_accuracy"] == pytest.approx(float((predicted == labels)[counted].double().mean()))


def test_an_absent_class_counts_in_no_mean() -> None:
    labels = torch.tensor([[0, 0, 1, 1]])
    found = scores(confusion(torch.tensor([[0, 1, 1, 1]]), labels, 4))
    assert found["iou"] == [pytest.approx(1 / 2), pytest.approx(2 / 3), None, None]
    assert found["mIoU"] == pytest.approx((1 / 2 + 2 / 3) / 2)


class Says(nn.Module):
    """Predicts for each pixel the class that it is as dark as."""

    def __init__(self, wrong: int = 0):
        super().__init__()
        self.wrong = wrong

    def forward(self, images: Tensor) -> Tensor:
        classes = (images[:, 0] * 255).round().long() + self.wrong
        return F.one_hot(classes % K, K).permute(0, 3, 1, 2).float() * 4


def test_all_background_has_accuracy_and_no_iou() -> None:
    labels = torch.zeros(5, H, W, dtype=torch.uint8)
    labels[:, 0] = torch.arange(5).view(5, 1) % K
    evaluate = Segmentation(torch.zeros(5, 1, H, W, dtype=torch.uint8), labels, K)
    assert evaluate.metric == "mIoU"
    mean = evaluate(Says().train())
    assert mean == pytest.approx(float(evaluate.details["pixel_accuracy"]) / K)  # type: ignore[arg-type]
    assert evaluate.details["pixel_accuracy"] == pytest.approx(0.8)
    assert evaluate.details["without_first"] == 0
    images = labels[:, None]
    assert Segmentation(images, labels, K)(Says()) == 1


def test_health_and_alarms_count_pixels() -> None:
    images = torch.zeros(6, 1, H, W)
    images[:, :, :2] = torch.arange(6).view(6, 1, 1, 1) % K / 255
    observer = Observer(Frozen(Says(), [0.0], [1.0]), Frozen(Says(1), [0.0], [1.0]))
    health, seen = metrics.health(observer, images)
    assert health["agreement"] == 0
    assert seen.predicted.shape == (6, H, W)
    assert seen.shares == pytest.approx([0.5 + 2 / 12, 1 / 12, 1 / 12, 1 / 12, 1 / 12], abs=1e-4)
    assert seen.student_shares == pytest.approx([1 / 12, 0.5 + 2 / 12, 1 / 12, 1 / 12, 1 / 12], abs=1e-4)
    assert health["entropy"] < math.log(K)
    collapsed = metrics.Seen(seen.predicted, seen.confidence, shares=[0.9, 0.05, 0.03, 0.02, 0.0],
                             student_shares=[0.5, 0.45, 0.05, 0.0, 0.0])  # fmt: skip
    said = metrics.alarms({"entropy": 0.0, "distance": 1.0}, {}, K, collapsed)
    assert [each.partition(" (")[0] for each in said] == [
        "the teacher sees one class in most pixels",
        "the student sees a second class in many pixels",
        "the student sees some classes nowhere",
    ]


MakeBuffer = Callable[[], ImageBuffer]


@pytest.mark.parametrize(
    "make",
    [lambda: ImageBuffer(4, (1, 2, 2), pixel_classes=3), lambda: PriorityBuffer(4, (1, 2, 2), 1, 1, pixel_classes=3)],
)
def test_a_buffer_counts_pixels_and_phi_eases_off_what_it_is_full_of(make: MakeBuffer) -> None:
    buffer = make()
    assert buffer.class_shares(3).tolist() == [0, 0, 0]
    shares = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    buffer.write(Batch(torch.zeros(2, 1, 2, 2), predicted=torch.tensor([0, 0]), shares=shares))
    assert buffer.class_shares(3).tolist() == [0.75, 0.25, 0]
    assert buffer.summary(3)["classes"] == [1.5, 0.5, 0]
    twin = make()
    twin.load_state_dict(buffer.state_dict())
    assert twin.class_shares(3).tolist() == [0.75, 0.25, 0]
    phi = Modulation(3, 2.0, True, True, "confidence")
    phi.bind(buffer)
    logits = torch.zeros(2, 3, 2, 2)
    logits[0, 0], logits[1, 2] = 50, 50
    assert phi(Observation(torch.zeros(2, 1, 2, 2), logits)).tolist() == pytest.approx(
        [0, 0], abs=1e-6
    )  # both are sure
    easy = Modulation(3, 2.0, True, False, "confidence")
    easy.bind(buffer)
    assert easy(Observation(torch.zeros(2, 1, 2, 2), logits)).tolist() == pytest.approx([0.25, 1.0])


def test_the_best_of_a_phase_keeps_its_shares() -> None:
    best = Best()
    worse, better = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    worse[:, 0], better[:, 1] = 50, 50
    for loss, logits in ((1.0, worse), (0.5, better), (0.7, worse)):
        images = torch.full((1, 1, 2, 2), loss)
        best.offer(torch.tensor(loss), Batch(images), Observation(images, logits))
    kept = best.take()
    assert kept.shares is not None
    assert kept.shares.tolist() == [[pytest.approx(0, abs=1e-6), pytest.approx(1)]]
    assert float(kept.images.mean()) == 0.5
