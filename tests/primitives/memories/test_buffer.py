"""Memories keep what they should, forget the oldest first, and are read as often as they say."""

from typing import Any

import pytest
import torch

from dfkd_lab.primitives.batch import Batch, to_float, to_uint8
from dfkd_lab.primitives.memories import ImageBuffer, Live, PriorityBuffer
from tests.reference import losses as twins

SHAPE = (1, 4, 4)


def numbered(*numbers: int) -> Batch:
    """Images that are all one gray, k/255 for number k, with the number as their label."""
    found = torch.tensor(numbers)
    return Batch((found / 255.0).view(-1, 1, 1, 1).expand(-1, *SHAPE), found, found % 3)


def held(ring: ImageBuffer) -> list[int]:
    assert torch.equal(ring.images[: len(ring), 0, 0, 0].long(), ring.labels[: len(ring)])
    return ring.labels[: len(ring)].tolist()


def never(n: int) -> Batch:
    raise AssertionError("a ring needs no fresh images")


@pytest.mark.parametrize(
    "kind",
    [ImageBuffer, lambda capacity, shape: PriorityBuffer(capacity, shape, 0.6, 0.4)],
    ids=["uniform", "priority"],
)
@pytest.mark.parametrize(
    ("writes", "wanted"),
    [
        ([[1, 2]], [1, 2]),
        ([[1, 2], [3, 4]], [1, 2, 3, 4]),
        ([[1, 2, 3], [4, 5, 6]], [6, 2, 3, 4, 5]),
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [6, 7, 8, 9, 5]),
        ([[1, 2, 3, 4, 5, 6, 7]], [3, 4, 5, 6, 7]),
        ([[1], [2, 3, 4, 5, 6, 7, 8]], [8, 4, 5, 6, 7]),
    ],
    ids=str,
)
def test_the_oldest_are_replaced_first_and_capacity_is_respected(kind: Any, writes: Any, wanted: Any) -> None:
    ring = kind(5, SHAPE)
    for write in writes:
        ring.write(numbered(*write))
    assert held(ring) == wanted
    batch = ring.read(200, never)
    assert set(batch.labels.tolist()) == set(wanted)
    assert torch.equal(ring.labels[batch.index], batch.labels)


def test_a_stored_image_is_cut_off_to_the_level_below_as_in_the_fields_code() -> None:
    ring = ImageBuffer(64, SHAPE)
    images = torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    ring.write(Batch(images))
    batch = ring.read(300, never)
    lost = images.clamp(0, 1)[batch.index] - batch.images
    assert 0 <= float(lost.min()) < float(lost.max()) < 1 / 255
    assert torch.equal(ring.images.double(), (images.double().clamp(0, 1) * 255).floor())
    assert ring.images.dtype == torch.uint8


def test_what_is_stored_again_is_the_same() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert to_uint8(torch.tensor([-1.0, 0.0, 1 / 255, 0.99999, 1.0, 2.0])).tolist() == [0, 0, 1, 254, 255, 255]


def sure(certainty: list[float], *numbers: int) -> Batch:
    batch = numbered(*numbers)
    batch.certainty = torch.tensor(certainty)
    return batch


@pytest.mark.parametrize("kind", [ImageBuffer, lambda n, shape, evict: PriorityBuffer(n, shape, 0.6, 0.4, evict)])
def test_the_worst_are_replaced_where_that_is_asked_for(kind: Any) -> None:
    ring = kind(4, SHAPE, evict="worst")
    ring.write(sure([0.9, 0.1], 1, 2))
    ring.write(sure([0.5, 0.3], 3, 4))
    assert held(ring) == [1, 2, 3, 4]
    ring.write(sure([0.2, 0.8], 5, 6))
    assert sorted(held(ring)) == [1, 3, 5, 6]
    again = kind(4, SHAPE, evict="worst")
    again.load_state_dict(ring.state_dict())
    for each in (ring, again):
        each.write(sure([0.7, 0.7], 7, 8))
        assert sorted(held(each)) == [1, 6, 7, 8]
    assert "certainty" not in ImageBuffer(4, SHAPE).state_dict()


def test_class_shares_count_what_the_teacher_saw() -> None:
    ring = ImageBuffer(4, SHAPE)
    assert ring.class_shares(3).tolist() == [0, 0, 0]
    ring.write(numbered(0, 3, 1))
    assert ring.class_shares(3).tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    ring.write(numbered(2, 5))
    assert ring.class_shares(3).tolist() == pytest.approx([1 / 4, 1 / 4, 2 / 4])


def test_uniform_reading_is_uniform() -> None:
    ring = ImageBuffer(8, SHAPE)
    ring.write(numbered(*range(8)))
    torch.manual_seed(0)
    counts = ring.read(8000, never).index.bincount(minlength=8).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 24.3  # chi square, 7 degrees of freedom, p = 0.001


PRIORITIES = [0.0, 0.1, 0.5, 1.0, 2.0, 8.0]


def prioritized(alpha: float = 0.6, beta: float = 0.4, importance: str = "largest") -> PriorityBuffer:
    ring = PriorityBuffer(8, SHAPE, alpha, beta, importance=importance)
    ring.write(numbered(*range(6)))
    ring.feedback(Batch(torch.zeros(6), index=torch.arange(6)), torch.tensor(PRIORITIES))
    return ring


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_priority_reading_is_as_often_as_prioritized_replay_says(alpha: float) -> None:
    ring, wanted = prioritized(alpha), twins.chances(PRIORITIES, alpha)
    assert ring.probabilities().tolist() == pytest.approx(wanted.tolist(), rel=1e-5)
    torch.manual_seed(0)
    n = 60_000
    counts = ring.read(n, never).index.bincount(minlength=6).numpy()
    expected = n * wanted
    assert sum((counts - expected) ** 2 / (expected + 1e-9) * (expected > 1)) < 20.5  # chi square, 5, p = 0.001


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_importance_weights_follow_beta_which_rises_to_1(progress: float) -> None:
    ring = prioritized(beta=0.4)
    ring.open(progress)
    torch.manual_seed(1)
    batch = ring.read(64, never)
    beta = 0.4 + 0.6 * progress
    wanted = twins.importance(twins.chances(PRIORITIES, 0.6), batch.index.tolist(), beta)
    assert batch.weights.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)
    assert float(batch.weights.max()) == 1


def test_importance_weights_over_their_mean_leave_a_step_its_size() -> None:
    rings = [prioritized(importance=each) for each in ("largest", "mean", "none")]
    read = []
    for ring in rings:
        ring.open(0.5)
        torch.manual_seed(1)
        read.append(ring.read(64, never))
    largest, mean, none = read
    assert torch.equal(largest.index, mean.index)
    assert torch.equal(largest.index, none.index)
    assert none.weights is None
    assert float(mean.weights.mean()) == pytest.approx(1)
    ratio = mean.weights / largest.weights
    assert ratio.tolist() == pytest.approx([float(ratio[0])] * 64)
    assert float(ratio[0]) > 1


def test_new_images_enter_with_the_largest_priority() -> None:
    ring = PriorityBuffer(8, SHAPE, 0.6, 0.4)
    ring.write(numbered(0, 1))
    assert ring.priorities[:2].tolist() == [1, 1]
    ring.feedback(Batch(torch.zeros(2), index=torch.tensor([0, 1])), torch.tensor([3.0, -5.0]))
    ring.write(numbered(2, 3))
    assert ring.priorities.tolist() == [3, 5, 5, 5, 0, 0, 0, 0]


def test_feedback_reaches_only_what_was_read() -> None:
    ring = prioritized()
    ring.feedback(Batch(torch.zeros(2), index=torch.tensor([1, 4])), torch.tensor([7.0, 9.0]))
    assert ring.priorities[:6].tolist() == pytest.approx([0.0, 7.0, 0.5, 1.0, 9.0, 8.0])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
def test_of_an_image_read_twice_the_largest_loss_counts(order: list[int]) -> None:
    ring = prioritized()
    ring.feedback(Batch(torch.zeros(3), index=torch.tensor([1, 4, 1])[order]), torch.tensor([3.0, 9.0, 0.1])[order])
    assert ring.priorities[:6].tolist() == pytest.approx([0.0, 3.0, 0.5, 1.0, 9.0, 8.0])
    assert ring.probabilities().tolist() == pytest.approx(twins.chances([0, 3, 0.5, 1, 9, 8], 0.6).tolist(), rel=1e-5)


def test_chances_follow_every_write_and_all_feedback() -> None:
    ring = PriorityBuffer(30, SHAPE, 0.6, 0.4)
    for step in range(12):
        ring.open(step / 12)
        ring.write(numbered(*range(7 * step, 7 * step + 7)))
        batch = ring.read(16, never)
        assert int(batch.index.max()) < len(ring)
        ring.feedback(batch, torch.rand(16, generator=torch.Generator().manual_seed(step)) * 10)
        wanted = twins.chances(ring.priorities[: len(ring)].tolist(), 0.6)
        assert ring.probabilities().tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_a_loss_that_is_not_a_number_leaves_the_ring_readable() -> None:
    ring = prioritized()
    ring.feedback(Batch(torch.zeros(2), index=torch.tensor([1, 4])), torch.tensor([torch.nan, torch.inf]))
    assert int(ring.read(64, never).index.max()) < 6


def test_class_shares_follow_a_restored_state() -> None:
    first, second = ImageBuffer(4, SHAPE), ImageBuffer(4, SHAPE)
    first.write(numbered(0, 3))
    second.write(numbered(1, 4))
    assert second.class_shares(3).tolist() == [0, 1, 0]
    second.load_state_dict(first.state_dict())
    assert second.class_shares(3).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "kind",
    [ImageBuffer, lambda capacity, shape: PriorityBuffer(capacity, shape, 0.6, 0.4)],
    ids=["uniform", "priority"],
)
def test_a_restored_ring_goes_on_as_the_first_would(kind: Any) -> None:
    first, second = kind(5, SHAPE), kind(5, SHAPE)
    first.write(numbered(1, 2, 3, 4, 5, 6, 7))
    first.write(numbered(8))
    first.feedback(Batch(torch.zeros(1), index=torch.tensor([2])), torch.tensor([4.0]))
    second.load_state_dict(first.state_dict())
    batches = []
    for ring in (first, second):
        torch.manual_seed(4)
        ring.write(numbered(9, 10))
        batches.append((held(ring), ring.read(20, never).index.tolist()))
    assert batches[0] == batches[1]


def test_the_count_is_brought_back_to_the_cpu_whenever_the_ring_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, cpu, brought = ImageBuffer(4, SHAPE), torch.Tensor.cpu, []
    ring.write(numbered(1))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: brought.append(tensor.shape) or cpu(tensor))
    ring.to(torch.device("cpu"))
    assert torch.Size([]) in brought
    assert ring.images.shape not in brought
    assert len(ring) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_ring_on_the_gpu_counts_on_the_cpu() -> None:
    ring = PriorityBuffer(4, SHAPE, 0.6, 0.4).to("cuda")
    ring.write(Batch(torch.rand(3, *SHAPE, device="cuda")))
    assert ring.written.device.type == "cpu"
    assert ring.read(2, never).images.device.type == "cuda"


def test_live_reads_are_fresh_or_the_shared_batch() -> None:
    fresh = lambda n: numbered(*range(n))  # noqa: E731
    alone, shared, made = Live(), Live(shared=True), numbered(7, 8)
    alone.write(made)
    shared.write(made)
    assert alone.read(3, fresh).labels.tolist() == [0, 1, 2]
    assert shared.read(3, fresh) is made
