"""Activation maps agree with their literal twins, and move the student through its maps alone."""

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.engine.recipe import MethodContext
from dfkd_lab.errors import RecipeError
from dfkd_lab.methods.common import recipes
from dfkd_lab.nets import ConvNet
from dfkd_lab.nets.pooling import GlobalAverage
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.losses import cam, needs_of
from dfkd_lab.primitives.observer import Observation, Observer
from tests.reference import cam as twins

SHAPES = [(6, 5), (4, 4), (3, 7)]
"""Height and width of the student's maps; the teacher's are 4 x 4."""


def literal(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


class Maps(nn.Module):
    """Two stages of a pointwise convolution with a nonlinearity behind, and a classifier of their mean."""

    def __init__(self, channels: int, classes: int = 3):
        super().__init__()
        self.stages = nn.Sequential(nn.Conv2d(1, channels, 1), nn.Conv2d(channels, channels, 3, padding=1))
        self.avgpool = GlobalAverage()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x).tanh()
        return self.fc(self.avgpool(x))


def networks() -> Observer:
    torch.manual_seed(0)
    return Observer(Frozen(Maps(4), [0.5], [0.25]), Classifier(Maps(2), [0.5], [0.25]))


def observed(size: tuple[int, int]) -> Observation:
    """Maps of two stages, of another size and number of channels in the student, and their gradients."""
    random = torch.Generator().manual_seed(size[0])
    draw = lambda *shape: torch.randn(*shape, generator=random, dtype=torch.float64)  # noqa: E731
    seen = Observation(draw(5, 1, 4, 4), draw(5, 3), student=draw(5, 3))
    seen.maps, seen.gradients = ([draw(5, 4, 8, 8), draw(5, 4, 4, 4)] for _ in range(2))
    seen.student_maps, seen.student_gradients = ([draw(5, 2, 4, 4), draw(5, 2, *size)] for _ in range(2))
    seen.last_maps, seen.student_last_maps = draw(5, 4, 4, 4), draw(5, 2, *size)
    return seen


@pytest.mark.parametrize("size", SHAPES)
def test_cam_agrees_with_its_twin(size: tuple[int, int]) -> None:
    seen, observer = observed(size), networks()
    teacher, student = (head.double().weight for head in observer.heads)
    assert seen.last_maps is not None
    assert seen.student_last_maps is not None
    wanted = twins.cam(literal(seen.last_maps), literal(seen.student_last_maps), literal(teacher), literal(student))
    assert literal(cam.class_activation_maps(observer)(seen)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("size", SHAPES)
def test_grad_cam_agrees_with_its_twin(size: tuple[int, int]) -> None:
    seen = observed(size)
    lists = (seen.maps, seen.student_maps, seen.gradients, seen.student_gradients)
    wanted = twins.grad_cam(*([literal(each) for each in stages] for stages in lists))
    assert literal(cam.grad_cam(2)(seen)) == pytest.approx(wanted, rel=1e-9)
    with pytest.raises(AssertionError):
        cam.grad_cam(3)(seen)


def test_both_are_0_for_equal_networks_and_have_neither_relu_nor_normalization() -> None:
    torch.manual_seed(0)
    net, images = Maps(4), torch.rand(5, 1, 6, 6)
    observer = Observer(Frozen(copy.deepcopy(net), [0.5], [0.25]), Classifier(net, [0.5], [0.25]))
    seen = observer(images, needs=frozenset({"gradients", "last_maps"}))
    for term in (cam.class_activation_maps(observer), cam.grad_cam(2)):
        assert literal(term(seen)) == pytest.approx(0, abs=1e-12)
    # against a student that sees nothing the distance is the map's own square: it counts what is below 0, and the scale
    assert seen.last_maps is not None
    seen.student_maps = [torch.zeros_like(each) for each in seen.maps]
    seen.student_last_maps = torch.zeros_like(seen.last_maps)
    once = [literal(term(seen)) for term in (cam.class_activation_maps(observer), cam.grad_cam(2))]
    seen.maps, seen.last_maps = [-3 * each for each in seen.maps], -3 * seen.last_maps
    thrice = [literal(term(seen)) for term in (cam.class_activation_maps(observer), cam.grad_cam(2))]
    for one, other in zip(once, thrice, strict=True):
        assert one.min() > 0
        assert other == pytest.approx(9 * one, rel=1e-4)


def terms_of(observer: Observer) -> dict[str, Any]:
    return {"cam": cam.class_activation_maps(observer), "grad_cam": cam.grad_cam(2)}


@pytest.mark.parametrize("name", ["cam", "grad_cam"])
def test_the_gradient_reaches_the_students_stages_and_nothing_else(name: str) -> None:
    observer, images = networks(), torch.rand(5, 1, 6, 6).requires_grad_()
    term = terms_of(observer)[name]
    term(observer(images, needs=needs_of(term))).sum().backward()
    student = dict(observer.student.named_parameters())
    moved = {key for key, value in student.items() if value.grad is not None and value.grad.any()}
    assert moved == {f"net.stages.{place}.{part}" for place in (0, 1) for part in ("weight", "bias")}
    assert not [each for each in observer.teacher.parameters() if each.grad is not None]


def test_the_weights_of_grad_cam_are_constants() -> None:
    observer, images = networks(), torch.rand(5, 1, 6, 6)
    seen = observer(images, needs=frozenset({"gradients"}))
    last = seen.student_maps[-1]
    (found,) = torch.autograd.grad(cam.grad_cam(2)(seen).sum(), last, retain_graph=True)
    weights = [each.mean((2, 3), keepdim=True) for each in (seen.gradients[-1], seen.student_gradients[-1])]
    mine, other = (weights[0] * seen.maps[-1]).sum(1), (weights[1] * last).sum(1)
    wanted = 2 * (other - mine)[:, None] * weights[1] / 36  # by hand, with w fixed
    assert torch.allclose(found, wanted.detach(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["cam", "grad_cam"])
def test_a_student_that_descends_looks_where_the_teacher_looks(name: str) -> None:
    torch.manual_seed(1)
    observer = Observer(Frozen(ConvNet(4, 1, 3), [0.5], [0.25]), Classifier(ConvNet(2, 1, 3), [0.5], [0.25]))
    images = torch.rand(16, 1, 16, 16)
    term = {"cam": cam.class_activation_maps(observer), "grad_cam": cam.grad_cam(3)}[name]
    optimizer, losses = torch.optim.Adam(observer.student.parameters(), lr=0.01), []
    for _ in range(40):
        loss = term(observer(images, needs=needs_of(term))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def lab_of(teacher: nn.Module, student: nn.Module) -> MethodContext:
    frozen = Frozen(teacher, [0.5], [0.25])
    observer = Observer(frozen, Classifier(student, [0.5], [0.25]))
    return MethodContext(frozen, observer, (1, 6, 6), classes=3, rounds=1)


def test_the_students_three_terms_have_the_weights_of_the_authors_code() -> None:
    rows = recipes.cam_losses(lab_of(Maps(4), Maps(2)), 30.0, 0.5, 2.0)
    assert {name: row.weight for name, row in rows.items()} == {"kd": 1 / 3, "cam": 0.5, "grad_cam": 2.0}
    # KLDiv as an element mean, times T^2
    t, s = torch.randn(4, 3), torch.randn(4, 3)
    wanted = nn.KLDivLoss(reduction="none")((s / 30).log_softmax(1), (t / 30).softmax(1)).mean() * 900
    found = rows["kd"].weight * rows["kd"].loss(Observation(t, t, student=s)).mean()
    assert float(found) == pytest.approx(float(wanted), rel=1e-4)


def test_networks_without_stages_are_refused_unless_nobody_looks() -> None:
    headless = nn.Sequential(nn.Conv2d(1, 3, 6), nn.Flatten())
    context = lab_of(headless, headless)
    with pytest.raises(RecipeError, match="neither 'stages' nor 'layer1'"):
        recipes.cam_losses(context, 4.0, cam=0.0, grad_cam=1.0)
    assert recipes.cam_losses(context, 4.0, cam=0.0, grad_cam=0.0)["cam"].weight == 0


def test_twins_do_not_call_the_library() -> None:
    assert "dfkd_lab" not in inspect.getsource(twins)
    assert "torch" not in inspect.getsource(twins)
