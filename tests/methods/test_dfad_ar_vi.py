"""The two terms of DFAD+AR+VI agree with their literal twins and do what they promise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Beta

from dfkd_lab.methods.dfad_ar_vi import Interpolation, near_boundary
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.observer import Observation, Observer
from tests.reference import replay as twins

TARGETS = pytest.mark.parametrize("target", ["label", "teacher"])


def literal(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


class Net(nn.Module):
    """Images [N, 1, 4, 4] -> logits [N, 3], with two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.first(x).relu() - 0.3).relu().flatten(1))


def observer() -> Observer:
    torch.manual_seed(0)
    return Observer(Frozen(Net(), [0.5], [0.25]), Net())


def images(n: int) -> Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n))


def test_near_boundary_agrees_with_its_twin_and_draws_images_to_the_boundaries() -> None:
    term, look, x = near_boundary(2), observer(), images(5).requires_grad_()
    seen = look(x, needs=term.needs, graph=True)  # type: ignore[attr-defined]
    loss = term(seen)
    assert literal(loss) == pytest.approx(twins.near_boundary([literal(each) for each in seen.preactivations]))
    loss.sum().backward()
    assert x.grad is not None
    with torch.no_grad():
        nearer = term(look(x - 0.01 * x.grad.sign(), needs=term.needs))  # type: ignore[attr-defined]
    assert bool((nearer < loss).all())
    with pytest.raises(AssertionError):
        near_boundary(3)(seen)


@TARGETS
@pytest.mark.parametrize(("n", "alpha"), [(2, 1.0), (9, 0.4)])
def test_interpolation_agrees_with_its_twin(n: int, alpha: float, target: str) -> None:
    look = observer()
    seen = look(images(n))
    torch.manual_seed(4)
    found = Interpolation(look, alpha, target)(seen)
    torch.manual_seed(4)
    shares = Beta(torch.full((n, 1), alpha), torch.full((n, 1), alpha)).sample().flatten().tolist()
    others = torch.randperm(n).tolist()
    mixed = torch.tensor(twins.mixed(literal(seen.images), others, shares), dtype=torch.float32)
    teacher = twins.mixed(literal(seen.logits), others, shares) if target == "label" else literal(look.teacher(mixed))
    assert literal(found) == pytest.approx(twins.l1(teacher, literal(look.student(mixed))), rel=1e-4)


@TARGETS
def test_the_logits_of_pixels_are_mixed_as_their_images_are(target: str) -> None:
    """Networks that are linear in each pixel: the mean over the pixels is what an image of one pixel gives."""
    torch.manual_seed(0)
    look = Observer(Frozen(nn.Conv2d(1, 3, 1), [0.0], [1.0]), nn.Conv2d(1, 3, 1))
    torch.manual_seed(4)
    found = Interpolation(look, 1.0, target)(look(images(6)))
    torch.manual_seed(4)
    pixel = images(6)[:, :, 1:2, 2:3]
    alone = Interpolation(look, 1.0, target)(look(pixel))
    torch.manual_seed(4)
    spread = Interpolation(look, 1.0, target)(look(pixel.expand(-1, -1, 4, 4)))
    assert found.shape == (6,)
    assert torch.allclose(spread, alone, atol=1e-6)


@pytest.mark.parametrize(("alpha", "least", "most"), [(0.05, 0.6, 1.0), (1.0, 0.15, 0.25), (50.0, 0.0, 0.02)])
def test_alpha_says_how_far_images_are_mixed(alpha: float, least: float, most: float) -> None:
    """Share of images that stay within a tenth of one of the two."""
    shown: list[Tensor] = []
    look = observer()
    look.student.register_forward_pre_hook(lambda net, inputs: shown.append(inputs[0]))
    x = (torch.arange(2000) % 2).view(-1, 1, 1, 1) * torch.ones(1, 1, 4, 4)
    torch.manual_seed(0)
    Interpolation(look, alpha, "label")(Observation(x, torch.zeros(2000, 3)))
    values = shown[0][:, 0, 0, 0]
    between = values[(values > 1e-6) & (values < 1 - 1e-6)]
    pure = 2000 - len(between)
    near = ((between < 0.1) | (between > 0.9)).sum() / max(1, len(between))
    assert pure > 800  # half of the partners are of the same kind
    assert least <= float(near) <= most


@TARGETS
def test_only_a_target_of_the_teachers_own_asks_the_teacher_again(target: str) -> None:
    look = observer()
    seen, term = look(images(6)), Interpolation(look, 1.0, target)
    term(seen).mean().backward()
    assert look.queries == (12 if target == "teacher" else 6)
    assert all(each.grad is not None and bool(each.grad.any()) for each in look.student.fc.parameters())
    assert not any(each.grad is not None for each in look.teacher.parameters())
