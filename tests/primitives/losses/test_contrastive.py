"""The contrast agrees with its literal twin, remembers what was kept, and moves nothing but what it says."""

import copy
import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.nets import ConvNet
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.losses.contrastive import Contrast, embedding
from dfkd_lab.primitives.observer import Observation, Observer
from dfkd_lab.primitives.views import Identity, ResizedCrop
from tests.reference import contrastive as twins


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def half(images: Tensor) -> Tensor:
    """A local view without chance."""
    return images * 0.5 + 0.1


def observer() -> Observer:
    nets = [ConvNet(2, 1, 3) for _ in range(2)]
    for layer in nets[0].modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
    return Observer(Frozen(nets[0], [0.5], [0.25]), Classifier(nets[1], [0.5], [0.25]))


def contrast(local: Any = half, **settings: Any) -> Contrast:
    usual: dict[str, Any] = {"temperature": 0.2, "capacity": 7, "negatives": 100, "lr": 0.01, "length": 4}
    return Contrast(observer(), Identity(), local, **{**usual, **settings})


def look(term: Contrast, images: Tensor, graph: bool = False) -> Observation:
    return term.observer(images, needs=needs_of(term), graph=graph)


def images(n: int) -> Tensor:
    return torch.rand(n, 1, 8, 8)


def literal(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


def twin_of(term: Contrast, near: Tensor, far: Tensor, rows: Tensor) -> Any:
    weights = [literal(each) for each in term.projection.parameters()]
    return twins.contrast(literal(near), literal(far), literal(rows), weights, term.temperature)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("kept", [0, 3])
def test_agrees_with_its_twin_with_an_empty_queue_and_a_filled_one(kept: int, temperature: float) -> None:
    term, new = contrast(temperature=temperature), images(5)
    if kept:
        term.commit(Batch(images(kept)))
    near, far = (embedding(look(term, each)) for each in (half(new), new))
    wanted = twin_of(term, near, far, term.queue[:kept])
    found = term(look(term, new))
    assert found.shape == (5,)
    assert literal(found) == pytest.approx(wanted, rel=1e-4)


def test_as_many_earlier_images_count_as_asked_for_and_others_each_time() -> None:
    term, new = contrast(negatives=2), images(4)
    term.commit(Batch(images(3)))
    near, far = (embedding(look(term, each)) for each in (half(new), new))
    wanted = [twin_of(term, near, far, term.queue[pair]) for pair in ([0, 1], [0, 2], [1, 2])]
    found = [literal(term(look(term, new))) for _ in range(40)]
    places = [[place for place, each in enumerate(wanted) if value == pytest.approx(each)] for value in found]
    assert {tuple(each) for each in places} == {(0,), (1,), (2,)}


def test_the_embedding_is_the_spatial_mean_of_what_enters_every_batch_norm() -> None:
    term, entered = contrast(), []
    for layer in term.observer.batch_norms:
        layer.register_forward_pre_hook(lambda layer, inputs: entered.append(inputs[0].mean((2, 3))))
    found = embedding(look(term, images(5)))
    assert torch.equal(found, torch.cat(entered, 1))
    assert found.shape[1] == term.queue.shape[2] == sum(layer.num_features for layer in term.observer.batch_norms)
    assert needs_of(term) == {"instance_means"}


def test_images_that_are_all_the_same_are_worst_and_distinct_ones_better() -> None:
    term = contrast(local=Identity(), temperature=0.05)
    same, distinct = images(1).expand(6, -1, -1, -1), images(6)
    assert literal(term(look(term, same))) == pytest.approx(math.log(6), rel=1e-5)
    assert literal(term(look(term, distinct))).mean() < math.log(6) - 0.01


# what is moved


def test_the_gradient_reaches_images_through_their_local_view_alone() -> None:
    def reached(local: Any) -> float:
        term = contrast(local=local)
        term.commit(Batch(images(3)))
        shown = images(4).requires_grad_()
        seen = look(term, shown, graph=True)
        assert embedding(seen).requires_grad
        term(seen).mean().backward()
        assert all(each.grad is None for each in term.observer.teacher.parameters())
        first: Any = term.projection[0]
        assert first.weight.grad.abs().sum() > 0
        return 0.0 if shown.grad is None else float(shown.grad.abs().sum())

    assert reached(half) > 0
    assert reached(lambda images: half(images.detach())) == 0


def test_earlier_images_are_pushed_away_but_give_no_gradient_of_their_own() -> None:
    term, shown = contrast(), images(4).requires_grad_()

    def gradient(part: slice) -> Tensor:
        shown.grad = None
        term(look(term, shown, graph=True))[part].sum().backward()
        return shown.grad.clone()  # type: ignore[attr-defined]  # backward put it there

    alone = gradient(slice(0, 1))
    assert alone[1:].abs().sum() == 0  # of l_0 nothing reaches the others: their keys are constants
    term.commit(Batch(images(3)))
    among = gradient(slice(0, 1))
    assert not torch.allclose(among[0], alone[0])
    assert among[1:].abs().sum() == 0  # nor of the earlier images' losses


def test_the_projection_steps_on_the_gradient_the_synthesizer_left_and_forgets_it() -> None:
    term, shown = contrast(), images(4).requires_grad_()
    twin = copy.deepcopy(term.projection)
    adam = torch.optim.Adam(twin.parameters(), lr=0.01, fused=True)
    for _ in range(3):
        term(look(term, shown, graph=True)).mean().backward()
        for mine, other in zip(term.projection.parameters(), twin.parameters(), strict=True):
            other.grad = mine.grad.clone()
        before = [each.detach().clone() for each in term.projection.parameters()]
        term.step()
        adam.step()
        assert not any(map(torch.equal, before, term.projection.parameters()))
        assert all(map(torch.equal, twin.parameters(), term.projection.parameters()))
        assert not [each for each in term.projection.parameters() if each.grad is not None]


# the queue


def test_the_queue_is_bounded_and_drops_the_oldest_first() -> None:
    term, shown = contrast(capacity=7), [images(n) for n in (3, 3, 3)]
    sizes = []
    for each in shown:
        term.commit(Batch(each))
        sizes.append(term.stored)
    assert sizes == [3, 6, 7]
    assert term.queue.shape[0] == 7
    near, far = (embedding(look(term, each)) for each in (half(torch.cat(shown)), torch.cat(shown)))
    order = [7, 8, 2, 3, 4, 5, 6]  # which image is in which row
    assert torch.allclose(term.queue[:, 0], near[order], atol=1e-5)
    assert torch.allclose(term.queue[:, 1], far[order], atol=1e-5)
    many = images(10)
    term.commit(Batch(many))
    assert term.stored == 7
    order = [8, 9, 3, 4, 5, 6, 7]  # of a batch larger than the queue the last ones stay
    assert torch.allclose(term.queue[:, 1], embedding(look(term, many))[order], atol=1e-5)


def test_the_kept_images_are_seen_through_the_recipes_view_first() -> None:
    term, kept = contrast(local=half), images(3)
    term.global_view = lambda images: images.flip(3)
    term.commit(Batch(kept))
    assert torch.allclose(term.queue[:3, 1], embedding(look(term, kept.flip(3))))
    assert torch.allclose(term.queue[:3, 0], embedding(look(term, half(kept.flip(3)))))
    assert not term.queue.requires_grad


def test_a_resumed_term_goes_on_exactly_and_not_without_its_state(tmp_path: Path) -> None:
    def go_on(term: Contrast) -> list[Tensor]:
        torch.manual_seed(1)
        for _ in range(3):
            term(look(term, images(4), graph=True)).mean().backward()
            term.step()
            term.commit(Batch(images(4)))
        return [*map(torch.clone, term.projection.parameters()), term.queue.clone()]

    first = contrast(local=ResizedCrop(0.25, True), negatives=3)
    go_on(first)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    wanted = go_on(first)

    def resumed(**changed: Any) -> list[Tensor]:
        torch.manual_seed(0)
        new = contrast(local=ResizedCrop(0.25, True), negatives=3)
        new.load_state_dict({**state, "_extra_state": {**state["_extra_state"], **changed}})
        return go_on(new)

    assert all(map(torch.equal, wanted, resumed()))
    assert not all(map(torch.equal, wanted, resumed(written=0)))
    fresh = torch.optim.Adam(contrast().projection.parameters(), fused=True).state_dict()
    assert not all(map(torch.equal, wanted, resumed(optimizer=fresh)))


def test_twins_do_not_call_the_library() -> None:
    assert "import torch" not in inspect.getsource(twins)
    assert "dfkd_lab" not in inspect.getsource(twins)
