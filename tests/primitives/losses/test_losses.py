"""Every term agrees with its literal twin, and has the extremes it promises."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.methods.ssd_kd import Modulation
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.losses.modulated import Modulated
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.observer import LayerStatistics, Observation, Observer
from tests.reference import losses as twins

SHAPES = [(1, 2), (3, 10), (17, 5), (32, 100)]
"""Samples and classes."""
NOTHING = Batch(torch.zeros(0))


def literal(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


def observed(n: int, k: int, scale: float = 4.0) -> Observation:
    random = torch.Generator().manual_seed(n * k)
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64)  # noqa: E731
    labels = torch.randint(0, k, (n,), generator=random)
    seen = Observation(draw(n, 2, 5, 4), scale * draw(n, k), labels, scale * draw(n, k), draw(n, 7))
    seen.maps = [draw(n, 3, 6, 5), draw(n, 4, 3, 3)]
    seen.student_maps = [draw(n, 2, 4, 5), draw(n, 4, 3, 3)]
    return seen


Pair = tuple[Callable[[Observation], Tensor], Callable[[Any, Observation], Any]]


def d(seen: Observation) -> tuple[Any, Any]:
    assert seen.student is not None
    return literal(seen.logits), literal(seen.student)


def maps(seen: Observation) -> tuple[Any, Any]:
    return [literal(each) for each in seen.maps], [literal(each) for each in seen.student_maps]


def js(twin: Callable[..., Any], tau: float) -> Callable[[Any, Observation], Any]:
    return lambda t, seen: twin(*d(seen), tau)


def adversarial(agreeing: bool, bound: float) -> Callable[[Any, Observation], Any]:
    return lambda t, seen: twins.adversarial(twins.kl(*d(seen), 1.0), *d(seen), agreeing, bound)


def units(images: Tensor) -> Tensor:
    """Images as a network sees them."""
    return (images - 0.3) / 0.25


TWINS: dict[str, list[Pair]] = {
    "confidence": [(losses.confidence, lambda t, seen: twins.confidence(t))],
    "label": [(losses.label, lambda t, seen: twins.label(t, seen.labels.tolist()))],
    "student_label": [(losses.student_label, lambda t, seen: twins.student_label(d(seen)[1], seen.labels.tolist()))],
    "attention": [(losses.attention(2), lambda t, seen: twins.attention(*maps(seen)))],
    "balance": [
        (losses.balance(), lambda t, seen: twins.balance(t, math.e)),
        (losses.balance(base=10), lambda t, seen: twins.balance(t, 10)),
    ],
    "activation": [(losses.activation, lambda t, seen: twins.activation(literal(seen.features)))],
    "kl": [
        (losses.kl(), lambda t, seen: twins.kl(*d(seen), 1.0)),
        (losses.kl(20.0), lambda t, seen: twins.kl(*d(seen), 20.0)),
    ],
    "l1": [(losses.l1, lambda t, seen: twins.l1(*d(seen)))],
    "js": [
        (losses.js(tau, form), js(twin, tau))
        for form, twin in (("true", twins.js), ("released", twins.js_released))
        for tau in (1.0, 3.0)
    ],
    "bounded": [
        (losses.bounded(losses.kl(), 0.5), lambda t, seen: twins.bounded(twins.kl(*d(seen), 1.0), 0.5)),
        (losses.bounded(losses.l1, 3.0), lambda t, seen: twins.bounded(twins.l1(*d(seen)), 3.0)),
    ],
    "adversarial": [
        (losses.adversarial(losses.kl(), agreeing, bound), adversarial(agreeing, bound))
        for agreeing in (False, True)
        for bound in (math.inf, 0.5)
    ],
    "total_variation": [
        (losses.total_variation(units), lambda t, seen: twins.total_variation(literal(units(seen.images)))),
        (losses.total_variation(units, "l1"), lambda t, seen: twins.total_variation_l1(literal(units(seen.images)))),
    ],
    "l2": [
        (losses.l2(units), lambda t, seen: twins.l2(literal(units(seen.images)))),
        (losses.l2(units, of_images=True), lambda t, seen: twins.l2_of_images(literal(units(seen.images)))),
    ],
}
TESTED_BY_ITSELF = {"BatchNormGap"}
CASES = [pytest.param(*pair, id=f"{name}-{place}") for name, pairs in TWINS.items() for place, pair in enumerate(pairs)]


@pytest.mark.parametrize(("n", "k"), SHAPES)
@pytest.mark.parametrize(("term", "twin"), CASES)
def test_agrees_with_its_twin(term: Any, twin: Any, n: int, k: int) -> None:
    seen = observed(n, k)
    found, wanted = literal(term(seen)), np.asarray(twin(literal(seen.logits), seen))
    assert found.shape == wanted.shape
    assert found == pytest.approx(wanted, rel=1e-7, abs=1e-7)


def test_every_public_loss_has_a_twin() -> None:
    public = {*losses.__all__} - {"Loss", "LossFunction", "needs", "needs_of"}
    assert public == TWINS.keys() | TESTED_BY_ITSELF
    assert all(hasattr(twins, name) for name in public)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_declares_what_it_reads(name: str) -> None:
    """Without what is not declared a term still works."""
    for term, _ in TWINS[name]:
        seen, declared = observed(6, 4), losses.needs_of(term)
        for field in ("student", "features", "labels"):
            if field not in declared:
                setattr(seen, field, None)
        if "maps" not in declared:
            seen.maps = seen.student_maps = []
        assert torch.isfinite(term(seen)).all()


@pytest.mark.parametrize("k", [2, 10, 100])
def test_balance_is_minus_log_k_for_a_uniform_batch_and_0_for_one_class(k: int) -> None:
    even = Observation(torch.zeros(k, 1, 4, 4), 1000 * torch.eye(k))
    one = Observation(torch.zeros(k, 1, 4, 4), 1000 * torch.eye(k)[:1].expand(k, -1))
    assert float(losses.balance()(even)) == pytest.approx(-math.log(k), abs=1e-6)
    assert float(losses.balance(base=10)(even)) == pytest.approx(-math.log10(k), abs=1e-6)
    assert float(losses.balance()(one)) == pytest.approx(0, abs=1e-6)


def test_extremes_of_the_cross_entropies_and_divergences() -> None:
    sure = 1000 * torch.eye(4)
    flat = Observation(torch.zeros(4, 1, 4, 4), torch.zeros(4, 4), torch.arange(4), torch.zeros(4, 4))
    same = Observation(torch.zeros(4, 1, 4, 4), sure, torch.arange(4), sure)
    apart = Observation(torch.zeros(4, 1, 4, 4), sure, torch.arange(4), sure.roll(1, 0))
    for term in (losses.confidence, losses.label):
        assert literal(term(flat)) == pytest.approx(math.log(4))
        assert literal(term(same)) == pytest.approx(0)
    for term in (losses.kl(), losses.l1, losses.js(), losses.adversarial(losses.l1, agreeing=True)):
        assert literal(term(same)) == pytest.approx(0, abs=1e-6)
    assert literal(losses.js(1.0)(apart)) == pytest.approx(math.log(2), rel=1e-5)
    assert literal(losses.adversarial(losses.l1, agreeing=True)(apart)) == pytest.approx(0)
    assert literal(losses.adversarial(losses.l1, bound=3.0)(apart)) == pytest.approx(-3)
    assert float(losses.total_variation(units)(flat)) == float(losses.total_variation(units, "l1")(flat)) == 0
    assert float(losses.l2(lambda images: images)(flat)) == 0


def test_attention_is_0_for_equal_maps_up_to_scale_and_largest_for_maps_that_never_meet() -> None:
    seen = observed(3, 4)
    seen.maps = seen.student_maps = [2 * torch.eye(4).view(1, 1, 4, 4)]
    assert literal(losses.attention(1)(seen)) == pytest.approx(0)
    seen.student_maps = [5 * each.expand(-1, 3, -1, -1) for each in seen.maps]
    assert literal(losses.attention(1)(seen)) == pytest.approx(0, abs=1e-9)
    seen.maps, seen.student_maps = [torch.eye(4).view(1, 1, 4, 4)], [torch.eye(4).flip(0).view(1, 1, 4, 4)]
    assert float(losses.attention(1)(seen)) == pytest.approx(2 / 16)
    with pytest.raises(AssertionError):
        losses.attention(2)(seen)


@pytest.mark.parametrize("form", ["true", "released"])
def test_the_released_js_moves_the_images_through_the_student_only(form: str) -> None:
    seen = observed(6, 4)
    seen.logits.requires_grad_()
    assert seen.student is not None
    seen.student.requires_grad_()
    losses.js(3.0, form)(seen).sum().backward()
    assert bool(seen.student.grad.any())
    assert (seen.logits.grad is None) is (form == "released")


def test_the_released_js_needs_no_clip_at_1() -> None:
    for k in (2, 3, 10):
        sure = 1000 * torch.eye(k)
        apart = Observation(torch.zeros(k, 1, 4, 4), sure, student=sure.roll(1, 0))
        assert 0 < float(losses.js(1.0, "released")(apart).max()) < 1


# the batch-norm gap


def layers(seed: int, sizes: tuple[int, ...] = (3, 5)) -> list[tuple[Tensor, Tensor, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    shapes = [(6, size, 4, 3) for size in sizes]
    draw = lambda *shape: 1 + 2 * torch.randn(*shape, generator=random)  # noqa: E731
    return [(draw(*shape), draw(shape[1]), draw(shape[1]).abs()) for shape in shapes]


def with_statistics(found: list[tuple[Tensor, Tensor, Tensor]]) -> Observation:
    seen = Observation(torch.zeros(6, 1, 4, 4), torch.zeros(6, 2))
    for maps, mean, variance in found:
        now = torch.var_mean(maps, (0, 2, 3), correction=0)
        seen.statistics.append(LayerStatistics(now[1], now[0], mean, variance))
    return seen


@pytest.mark.parametrize(("momentum", "first"), [(0.0, 1), (0.3, 1), (0.9, 1), (0.0, 5), (0.3, 0.5)])
def test_batch_norm_gap_agrees_with_its_twin_over_several_rounds(momentum: float, first: float) -> None:
    term = losses.BatchNormGap([nn.BatchNorm2d(3), nn.BatchNorm2d(5)], momentum, first)
    twin = twins.BatchNormGap(momentum, first)
    for turn in range(4):
        for step in range(2):
            found = layers(10 * turn + step)
            wanted = twin([(literal(maps), literal(mean), literal(variance)) for maps, mean, variance in found])
            assert float(term(with_statistics(found))) == pytest.approx(wanted, rel=1e-5)
        term.commit(NOTHING)
        twin.commit()


def test_batch_norm_gap_scales_the_gradient_by_one_minus_momentum_after_the_first_round() -> None:
    term, gradients = losses.BatchNormGap([nn.BatchNorm2d(3)], 0.9), []
    for turn in range(2):
        mean = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        seen = Observation(torch.zeros(1), torch.zeros(1))
        seen.statistics = [LayerStatistics(mean, torch.ones(3), torch.zeros(3), torch.ones(3))]
        term(seen).backward()
        gradients.append(float(mean.grad.norm()))
        term.commit(NOTHING)
        assert turn == int(term.commits) - 1
    assert gradients == pytest.approx([1.0, 0.1])


def observe(net: nn.Module, images: Tensor) -> Observation:
    observer = Observer(Frozen(net, [0.5], [0.25]), nn.Identity())
    return observer(images, needs=frozenset({"statistics"}), graph=True)


def test_batch_norm_gap_is_measured_at_the_input_of_the_layer_on_normalized_images_and_reaches_them() -> None:
    # the layer's own affine would move its output far away
    norm = nn.BatchNorm2d(1)
    norm.weight.data, norm.bias.data = torch.tensor([7.0]), torch.tensor([-3.0])
    norm.running_mean, norm.running_var = torch.tensor([0.2]), torch.tensor([2.0])
    net = nn.Sequential(norm, nn.Flatten(), nn.Linear(4, 2))
    images = torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gap = losses.BatchNormGap([norm])(observe(net, images))
    x = (literal(images) - 0.5) / 0.25
    mean, variance = x.mean(), x.var(ddof=0)
    assert literal(gap) == pytest.approx(abs(mean - 0.2) + abs(variance - 2.0), rel=1e-5)
    gap.backward()
    # d|m - r| + d|v - r'| by hand: sign / n, and sign * 2 (x - m) / n, times 1 / std
    wanted = (np.sign(mean - 0.2) + np.sign(variance - 2.0) * 2 * (x - mean)) / x.size / 0.25
    assert literal(images.grad) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


# SSD-KD's modulating function


@pytest.mark.parametrize("diversity", [True, False])
@pytest.mark.parametrize("difficulty", [True, False])
@pytest.mark.parametrize("stored", [[], [0, 0, 1, 2, 2, 2]])
@pytest.mark.parametrize("by", ["target", "confidence"])
def test_modulation_agrees_with_its_twin_and_carries_no_gradient(
    by: str, stored: list[int], difficulty: bool, diversity: bool
) -> None:
    memory = ImageBuffer(8, (1, 4, 4))
    if stored:
        memory.write(Batch(torch.rand(len(stored), 1, 4, 4), predicted=torch.tensor(stored)))
    term, seen = Modulated(losses.label, Modulation(4, 2.0, diversity, difficulty, by)), observed(9, 4, scale=1.0)
    term.bind(memory)
    phi, targets = term.weight(seen), seen.labels if by == "target" else seen.logits.argmax(1)
    assert literal(phi) == pytest.approx(
        twins.phi(literal(seen.logits), targets.tolist(), stored, 2.0, diversity, difficulty), rel=1e-5, abs=1e-6
    )
    assert literal(term(seen)) == pytest.approx(literal(phi) * literal(losses.label(seen)), rel=1e-5)
    assert literal(term.unmodulated) == pytest.approx(literal(losses.label(seen)))
    seen.logits = seen.logits.requires_grad_()
    (gradient,) = torch.autograd.grad(term(seen).sum(), seen.logits)
    (plain,) = torch.autograd.grad((phi * losses.label(seen)).sum(), seen.logits)
    assert torch.allclose(gradient, plain)


def test_twins_do_not_call_the_library() -> None:
    assert "dfkd_lab" not in inspect.getsource(twins)
    assert "torch" not in inspect.getsource(twins)
