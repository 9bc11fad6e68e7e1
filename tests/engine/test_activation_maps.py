"""The spatial means of class activation maps are the logits, or the run is refused before it begins."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.engine.compilation import many_shapes
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.precision import Autocast
from dfkd_lab.errors import RecipeError
from dfkd_lab.methods import composition
from dfkd_lab.methods.spaceshipnet import SpaceshipNet
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.last_maps import activation_map, why_no_activation_map
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.losses.cam import class_activation_maps
from dfkd_lab.primitives.observer import Observer

HIDDEN = {
    "lenet5": "has a linear layer of 84 inputs, and last maps of 120 channels",
    "lenet5_half": "has a linear layer of 42 inputs, and last maps of 60 channels",
}
"""Networks of ours with a layer between pooling and the last one."""


@pytest.mark.slow
@pytest.mark.parametrize("name", nets.CLASSIFIERS)
def test_the_spatial_mean_of_the_map_and_the_bias_are_the_logit_of_every_network(name: str) -> None:
    torch.manual_seed(0)
    student = Classifier(nets.classifier(name, 3, 10), [0.5], [0.25])
    observer, images = Observer(Frozen(nn.Linear(1, 1), [0.5], [0.25]), student), torch.rand(2, 3, 32, 32)
    head, last = observer.heads[1], observer.last_maps[1]
    reason = why_no_activation_map(student, last, head, images)
    assert reason == HIDDEN.get(name, "")
    assert student.training
    if not reason:
        found: list[Tensor] = []
        assert last is not None
        assert head is not None
        last.hook(found.append)
        with torch.no_grad():
            logits = student.eval()(images)
        means = activation_map(found[-1], head.weight).mean((2, 3)) + head.bias
        torch.testing.assert_close(means, logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))


class Normalizing(nn.Module):
    """A layer norm between the mean and the classifier, as in ConvNeXt."""

    def __init__(self, middle: nn.Module):
        super().__init__()
        self.stages = nn.Sequential(nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU()))
        self.middle, self.fc = middle, nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.middle(self.stages(x).mean((2, 3))))


def composed(teacher: nn.Module, student: nn.Module, terms: str = "", **settings: Any) -> ComposedRun:
    sizes: dict[str, Any] = {"rounds": 1, "seed": 0, "shape": (1, 16, 16), "classes": 10}
    given: dict[str, Any] = {
        "grad_cam": 0.0,
        "batch": 4,
        "capacity": 8,
        "width": 4,
        "z_dim": 4,
        "g_steps": 1,
        "s_steps": 1,
        **settings,
    }
    method = composition.compose(SpaceshipNet(**given), terms=terms)
    wrapped = Classifier(student, (0.5,), (0.25,))
    return ComposedRun.of(method, Frozen(teacher, (0.5,), (0.25,)), lambda: wrapped, **sizes)


def convnet() -> nn.Module:
    return nets.classifier("convnet_8", 1, 10)


def test_a_network_whose_classifier_reads_something_else_is_refused_with_the_cure() -> None:
    for teacher, student, who in (
        (convnet(), nets.classifier("lenet5", 1, 10), "the student (LeNet5) has a linear layer of 84 inputs"),
        (
            convnet(),
            Normalizing(nn.LayerNorm(8)),
            "the student (Normalizing) has a linear layer that reads something else",
        ),
        (
            Normalizing(nn.LayerNorm(8)),
            convnet(),
            "the teacher (Normalizing) has a linear layer that reads something else",
        ),
        (convnet(), nn.Sequential(nn.Conv2d(1, 10, 16), nn.Flatten()), "the student (Sequential) has no linear layer"),
    ):
        with pytest.raises(RecipeError) as error:
            composed(teacher, student)
        assert who in str(error.value)
        assert str(error.value).endswith("leave it out with cam = 0, or terms = 'cam=0'")
        assert "\n" not in str(error.value)
        composed(teacher, student, cam=0.0)
        composed(teacher, student, terms="cam=0")


def test_the_proof_leaves_modes_weights_and_random_numbers_as_they_were() -> None:
    student = Normalizing(nn.Dropout(0.5))
    student.stages.eval()
    modes = [module.training for module in student.modules()]
    before = {name: value.clone() for name, value in student.state_dict().items()}
    teacher, state = convnet(), torch.get_rng_state()
    run = composed(teacher, student)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in student.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert run.observer.queries == 0
    without = composed(convnet(), Normalizing(nn.Dropout(0.5)), cam=0.0)
    assert all(torch.equal(*pair) for pair in zip(run.rng.state_dict().values(), without.rng.state_dict().values(),
                                                  strict=True))  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.long)])
def test_what_a_compiled_wrn_pools_is_recorded_too(precision: str) -> None:
    torch.manual_seed(0)
    shape, autocast = (1, 16, 16), Autocast(torch.device("cpu"), precision)
    teacher = Frozen(nets.classifier("wrn16_1", 1, 10), (0.5,), (0.25,))
    student = Classifier(nets.classifier("wrn16_1", 1, 10), (0.5,), (0.25,)).eval()
    for network in (teacher, student):
        autocast.prepare(network, shape)
    observer, images = Observer(teacher, student, autocast), torch.rand(4, *shape)
    loss = class_activation_maps(observer)

    def observed() -> tuple[Tensor, Tensor]:
        student.zero_grad()
        value = loss(observer(images, needs=needs_of(loss)))
        value.mean().backward()
        gradient = next(student.parameters()).grad
        assert gradient is not None
        return value.detach(), gradient.clone()

    wanted = observed()
    torch.compiler.reset()
    with many_shapes():
        for network in (teacher, student):  # as far as the graphs of both ways, which takes no compiler
            network.compile(dynamic=False, backend="aot_eager", fullgraph=True)
        found = observed()
    assert found[0].dtype == torch.float32
    tolerance = 1e-4 if precision == "fp32" else 0.1
    for mine, other in zip(found, wanted, strict=True):
        assert float((mine - other).norm()) <= tolerance * float(other.norm())
