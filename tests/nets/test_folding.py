"""A folded teacher answers as the teacher does, in fewer operations, or is the teacher."""

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.nets.pooling import GlobalAverage
from dfkd_lab.nets.wrap import Frozen, folded
from dfkd_lab.primitives.observer import Observer

SHAPE = (3, 16, 16)


def frozen(net: nn.Module) -> Frozen:
    """A teacher whose batch norms remember something, in eval mode."""
    torch.manual_seed(0)
    for layer in (each for each in net.modules() if isinstance(each, nn.BatchNorm2d)):
        if layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
        nn.init.uniform_(layer.weight, 0.5, 1.5)
        nn.init.normal_(layer.bias)
    return Frozen(net, [0.5] * 3, [0.25] * 3)


def norms(net: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [("convnet_8", 0), ("resnet8", 0), ("resnet18", 0), ("wrn16_1", 7), ("mobilenet_v2", 0), ("vgg11", 0)],
)
def test_the_answer_is_the_teachers(name: str, left: int) -> None:
    teacher, images = frozen(nets.classifier(name, 3, 10)), torch.rand(4, *SHAPE)
    found = folded(teacher, SHAPE)
    assert norms(found) == left < norms(teacher)  # of a WRN only the second norm of a block is behind a convolution
    wanted = teacher(images)
    torch.testing.assert_close(found(images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert not found.train().training


class TwoReaders(nn.Module):
    """A convolution whose output two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.convolution(x)
        return self.head((maps + self.norm(maps)).mean((2, 3)))


class Deciding(nn.Module):
    """A network that cannot be traced, because what it computes depends on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nets.classifier("convnet_8", 3, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) if x.sum() > 0 else self.net(-x)


@pytest.mark.parametrize(
    "net",
    [
        TwoReaders(),
        Deciding(),
        nets.classifier("lenet5", 3, 10),
        nn.Sequential(nn.Conv2d(3, 10, 16), nn.BatchNorm2d(10, track_running_stats=False), nn.Flatten()),
    ],
    ids=["two readers", "deciding", "no norm", "no memory"],
)
def test_what_cannot_be_folded_stays_as_it_is(net: nn.Module) -> None:
    teacher = frozen(net)
    assert folded(teacher, SHAPE) is teacher


def test_whoever_listens_to_the_teacher_does_not_hear_its_copy() -> None:
    teacher = frozen(nets.classifier("convnet_8", 3, 10))
    heard: list[int] = []
    for layer in teacher.modules():
        layer.register_forward_hook(lambda *seen: heard.append(1))
        layer.register_forward_pre_hook(lambda *seen: heard.append(1))
    copied = folded(teacher, SHAPE)
    heard.clear()
    copied(torch.rand(1, *SHAPE))
    assert not heard


@pytest.mark.parametrize(
    ("needs", "graph", "asked"),
    [
        (frozenset(), False, "folded"),
        (frozenset({"student"}), False, "folded"),
        (frozenset({"student"}), True, "teacher"),
        (frozenset({"statistics"}), False, "teacher"),
        (frozenset({"maps"}), False, "teacher"),
    ],
)
def test_it_is_asked_where_nobody_looks_inside(needs: frozenset[str], graph: bool, asked: str) -> None:
    teacher = frozen(nets.classifier("convnet_8", 3, 10))
    folded_teacher, calls = folded(teacher, SHAPE), []
    for name, net in (("teacher", teacher), ("folded", folded_teacher)):
        net.register_forward_pre_hook(lambda *seen, name=name: calls.append(name))
    Observer(teacher, nets.classifier("convnet_8", 3, 10), None, folded_teacher)(
        torch.rand(2, *SHAPE), None, needs, graph
    )
    assert calls == [asked]


def test_the_answer_is_held_against_the_teacher_not_against_a_copy_of_it() -> None:
    spectral = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3))  # its hook, which makes the filters, is not copied
    teacher = frozen(nn.Sequential(spectral, nn.Conv2d(4, 10, 3), nn.BatchNorm2d(10), GlobalAverage()))
    images = torch.rand(4, *SHAPE)
    torch.testing.assert_close(folded(teacher, SHAPE)(images), teacher(images), rtol=1e-3, atol=1e-3)
