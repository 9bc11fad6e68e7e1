"""A sum tree draws in proportion to its scores, however they got there."""

import pytest
import torch

from dfkd_lab.primitives.sum_tree import SumTree

CAPACITIES = [1, 2, 31, 32, 33, 513, 1024, 1025, 5000]
by_depth = pytest.mark.parametrize("row", [0, 5000])
"""The largest tree that is one row: none, or all of these."""


def filled(capacity: int, row: int, seed: int = 0) -> tuple[SumTree, torch.Tensor]:
    tree, scores = SumTree(capacity, row), torch.rand(capacity, generator=torch.Generator().manual_seed(seed)) + 0.01
    tree.fill(scores)
    return tree, scores.double()


def exact(tree: SumTree, scores: torch.Tensor) -> None:
    """All levels hold the plain sums, and nothing lies behind the last place."""
    padded = torch.zeros_like(tree.scores)
    padded[: len(scores)] = scores
    assert torch.equal(tree.scores, padded)
    for level in tree.levels:
        below = padded.view(level.numel(), -1).sum(1)
        assert torch.allclose(level.view(-1), below, rtol=1e-14, atol=0)
    assert float(tree.total) == pytest.approx(float(scores.sum()), rel=1e-14)


def test_a_small_tree_is_one_row_and_a_large_one_walks_three() -> None:
    assert (SumTree(8192).depth, SumTree(8193).depth) == (1, 3)
    assert [level.shape for level in SumTree(8193).levels] == [(9,), (9, 32), (9, 32, 32)]


def test_a_large_tree_reads_rows_no_longer_than_a_smaller_one_except_at_the_top() -> None:
    assert [level.shape[1:] for level in SumTree(10**6).levels] == [level.shape[1:] for level in SumTree(8193).levels]


@by_depth
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_sums_are_plain_sums_after_any_number_of_updates(capacity: int, row: int) -> None:
    tree, scores = filled(capacity, row)
    exact(tree, scores)
    random = torch.Generator().manual_seed(1)
    for scale in [1e-6, 1.0, 1e6] * 20:  # differences, added up, would drift by 1e-10 and more
        places = torch.randperm(capacity, generator=random)[: max(1, capacity // 3)]
        scores[places] = torch.rand(len(places), generator=random).double() * scale
        tree.update(places, scores[places])
    exact(tree, scores)
    again = SumTree(capacity, row)
    again.fill(scores)
    assert all(torch.allclose(*pair, rtol=1e-14, atol=0) for pair in zip(tree.levels, again.levels, strict=True))


@by_depth
@pytest.mark.parametrize("capacity", [8, 28, 100])
def test_draws_are_as_often_as_the_scores_say(capacity: int, row: int) -> None:
    tree, scores = filled(capacity, row)
    places = torch.arange(0, capacity, 3)
    scores[places] *= 5
    tree.update(places, scores[places])
    torch.manual_seed(0)
    wanted = 50_000 * scores / scores.sum()
    counts = tree.draw(50_000).bincount(minlength=capacity)
    freedom = capacity - 1
    assert float(((counts - wanted) ** 2 / wanted).sum()) < freedom + 3.5 * (2 * freedom) ** 0.5  # chi square


@by_depth
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_a_place_without_a_score_is_never_drawn(capacity: int, row: int) -> None:
    tree, held = SumTree(capacity, row), torch.arange(0, capacity, 7)
    tree.update(held, torch.full((len(held),), 1e-6))
    torch.manual_seed(0)
    assert set(tree.draw(20_000).tolist()) <= set(held.tolist())
    tree.fill(torch.ones(max(1, capacity // 2)))
    assert int(tree.draw(20_000).max()) < max(1, capacity // 2)


@by_depth
def test_the_last_number_below_1_still_finds_a_place(monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    tree, _ = filled(100, row)
    tree.update(torch.tensor([99]), torch.zeros(1))
    for number, wanted in ((1 - 2**-53, 98), (0.0, 0)):
        monkeypatch.setattr(torch, "rand", lambda *size, number=number, **how: torch.full(size, number, **how))
        assert set(tree.draw(5).tolist()) == {wanted}


def test_one_score_of_millionths_counts_beside_half_a_million_others() -> None:
    tree = SumTree(500_000)
    tree.fill(torch.ones(500_000))
    before = tree.total.clone()
    tree.update(torch.tensor([123_456]), torch.tensor([1 + 1e-6], dtype=torch.double))
    assert float(tree.total - before) == pytest.approx(1e-6, rel=1e-3)


@by_depth
def test_a_place_that_is_named_twice_counts_once(row: int) -> None:
    tree = SumTree(5, row)
    tree.update(torch.tensor([4, 1, 4, 0, 1, 4]), torch.tensor([5.0, 4, 5, 3, 4, 5]))
    assert tree.scores[:5].tolist() == [3, 4, 0, 0, 5]
    assert float(tree.total) == 12


def test_no_level_is_in_the_state_dict() -> None:
    assert not SumTree(10).state_dict()
