"""Convolutions do what follows them in the same pass, where nobody else reads what is between."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from dfkd_lab import nets
from dfkd_lab.nets.wrap import Frozen, folded
from dfkd_lab.system.onednn_fusion import RELUS, SUMS, FusedConv2d, fused

SHAPE = (3, 32, 32)


def traced(net: nn.Module) -> fx.GraphModule:
    """``net`` as a run has its teacher when nothing but logits is wanted."""
    torch.manual_seed(0)
    found = folded(Frozen(net, [0.5] * 3, [0.25] * 3), SHAPE).net
    assert isinstance(found, fx.GraphModule)
    return found


def passes(net: fx.GraphModule) -> int:
    """Additions and ReLUs that read their maps once more."""
    relus = [node for node in net.graph.nodes if node.op == "call_module"]
    return sum(node.target in (*RELUS, *SUMS) for node in net.graph.nodes) + sum(
        isinstance(net.get_submodule(node.target), nn.ReLU) for node in relus
    )


@pytest.mark.parametrize(
    ("name", "left"),
    [("convnet_8", 0), ("resnet20", 0), ("resnet18", 0), ("wrn16_1", 7), ("vgg11", 0), ("torchvision:resnet18", 0)],
)
@torch.no_grad()
def test_the_logits_are_those_of_before(name: str, left: int) -> None:
    net, images = traced(nets.classifier(name, 3, 10)), torch.randn(4, *SHAPE)
    found = fused(net)
    assert passes(found) == left < passes(net)
    wanted = net(images)
    torch.testing.assert_close(found(images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert {id(each) for each in found.parameters()} == {id(each) for each in net.parameters()}


class ReadTwice(nn.Module):
    """What a convolution gives is read by two; a ReLU takes the sum of a map and itself; a sum has a number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.first(x)
        kept = F.relu(maps) + maps
        doubled = self.second(kept)
        x = F.relu(doubled + doubled)
        return self.third(x) + 1.0


@torch.no_grad()
def test_what_is_read_elsewhere_is_left_as_it_is() -> None:
    net = ReadTwice()
    found, images = fused(fx.symbolic_trace(net)), torch.randn(2, 3, 8, 8)
    assert not [layer for layer in found.modules() if isinstance(layer, FusedConv2d)]
    assert torch.equal(found(images), net(images))


class ReadBeforeItChanges(nn.Module):
    """What a convolution has read is rectified in place, and only then added."""

    def __init__(self, in_place: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.in_place = nn.Conv2d(3, 3, 3, padding=1), in_place

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.5
        maps = self.layer(x)
        return maps + self.in_place(x)


@pytest.mark.parametrize(
    "in_place", [nn.ReLU(inplace=True), F.relu_, lambda x: x.relu_(), lambda x: F.relu(x, inplace=True)]
)
@torch.no_grad()
def test_a_convolution_reads_before_its_input_is_changed(in_place: Callable[[Tensor], Tensor]) -> None:
    net, images = ReadBeforeItChanges(in_place), torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(fused(fx.symbolic_trace(net))(images), net(images))


class Called(nn.Module):
    """A convolution, rectified, that is called in some way."""

    def __init__(self, layer: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.call(self.layer, x))


def of_buffer() -> nn.Conv2d:
    """A convolution whose filters are no parameter."""
    layer = nn.Conv2d(3, 3, 3)
    filters = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", filters)
    return layer


@pytest.mark.parametrize(
    "net",
    [
        Called(nn.Conv2d(3, 3, 3), lambda layer, x: layer(input=x)),
        Called(nn.utils.spectral_norm(nn.Conv2d(3, 3, 3)), lambda layer, x: layer(x)),
        Called(of_buffer(), lambda layer, x: layer(x)),
        Called(nn.Conv2d(3, 3, 3, padding="same"), lambda layer, x: layer(x)),
        Called(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), lambda layer, x: layer(x)),
    ],
    ids=["by keyword", "spectral norm", "no parameter", "same", "reflected"],
)
@torch.no_grad()
def test_a_convolution_that_is_not_an_ordinary_one_is_left_as_it_is(net: nn.Module) -> None:
    found, images = fused(fx.symbolic_trace(net.eval())), torch.randn(2, 3, 8, 8)
    assert not [layer for layer in found.modules() if isinstance(layer, FusedConv2d)]
    assert torch.equal(found(images), net(images))


class ChangesWhatWasAdded(nn.Module):
    """Between a sum and its ReLU, what was added is clipped in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.5
        total = self.layer(x) + x
        clipped = F.relu6(x, inplace=True)
        return F.relu(total) + clipped


@torch.no_grad()
def test_a_sum_is_of_what_was_there_when_it_was_added() -> None:
    net, images = ChangesWhatWasAdded(), torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(fused(fx.symbolic_trace(net))(images), net(images))
