"""Filters whose gradient is in 32 bits: the same passes, a better gradient, and no kernel that waits at every image."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dfkd_lab import nets
from dfkd_lab.bench.overhead import Pair
from dfkd_lab.engine.precision import Autocast
from dfkd_lab.system.onednn_conv import SteadyConv2d, convolution, replace_waiting, waits

CPU = torch.device("cpu")
HALF = Autocast(CPU, "bf16")


@pytest.mark.parametrize("transposed", [False, True])
def test_only_the_gradient_of_filters_and_bias_differs_and_it_is_that_of_32_bits(transposed: bool) -> None:
    torch.manual_seed(0)
    images, filters, bias = torch.rand(4, 6, 8, 8), torch.randn(6, 6, 4, 4), torch.randn(6)
    geometry: dict[str, Any] = {"stride": (2, 2), "padding": (1, 1), "transposed": transposed}

    def passed(convolve: Callable[..., Tensor], autocast: Autocast) -> tuple[Tensor, ...]:
        given = [each.to(torch.bfloat16).float().requires_grad_() for each in (images, filters, bias)]
        with autocast:
            maps = convolve(given[0].to(torch.bfloat16) if autocast is HALF else given[0], *given[1:])
        slope = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
        maps.backward(slope.to(maps.dtype))
        return maps, *(each.grad for each in given)

    plain: Callable[..., Tensor] = F.conv_transpose2d if transposed else F.conv2d
    ours = passed(lambda *given: convolution(*given, **geometry), HALF)
    theirs = passed(lambda *given: plain(*given, stride=2, padding=1), HALF)
    exact = passed(lambda *given: plain(*given, stride=2, padding=1), Autocast(CPU, "fp32"))
    assert ours[0].dtype == torch.bfloat16
    assert all(map(torch.equal, ours[:2], theirs[:2]))
    for mine, other, wanted in zip(ours[2:], theirs[2:], exact[2:], strict=True):
        torch.testing.assert_close(mine, wanted)
        assert not torch.equal(other, wanted)  # bfloat16 rounds it


def test_without_half_precision_it_is_the_convolution_itself() -> None:
    images, filters = torch.rand(2, 4, 9, 9), torch.randn(6, 2, 3, 3).requires_grad_()
    maps = convolution(images, filters, None, stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2)
    assert torch.equal(maps, F.conv2d(images, filters, None, 2, 1, 2, 2))
    with HALF:
        short = convolution(images, filters, None, stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2)
        assert torch.equal(short, F.conv2d(images, filters, None, 2, 1, 2, 2))
    assert maps.dtype == torch.float32
    assert short.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(16, 32, 3, stride=2), True),
        (nn.Conv2d(32, 1, 3), True),
        (nn.Conv2d(3, 64, 3), True),
        (nn.Conv2d(16, 256, 3), True),
        (nn.Conv2d(3, 16, 3), False),
        (nn.Conv2d(8, 16, 3), False),
        (nn.Conv2d(64, 128, 3), False),
        (nn.Conv2d(16, 32, 1, stride=2), False),
    ],
)
def test_kernels_with_a_stride_or_with_uneven_sides_wait(layer: nn.Conv2d, expected: bool) -> None:
    assert waits(layer) == expected


def test_only_what_would_wait_is_changed_and_keeps_its_parameters() -> None:
    net = nets.classifier("resnet8", 3, 10)
    before = dict(net.named_parameters())
    replace_waiting(net)
    steady = [name for name, layer in net.named_modules() if isinstance(layer, SteadyConv2d)]
    assert steady == ["layer2.0.conv1", "layer3.0.conv1"]
    assert all(before[name] is each for name, each in net.named_parameters())
    circular = nn.Conv2d(3, 64, 3, padding=1, padding_mode="circular")
    odd = nn.Sequential(nn.Conv2d(3, 64, 3, padding="same"), circular, nn.Conv2d(3, 64, 3).requires_grad_(False))
    replace_waiting(odd)
    assert {type(layer) for layer in odd} == {nn.Conv2d}


class FilterGradients(TorchDispatchMode):
    """Notes the precision of the gradient of all filters that would make threads wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[torch.dtype] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator.overloadpacket.__name__ == "convolution_backward" and args[10][1]:
            slope, _, filters = args[:3]
            layer = nn.Conv2d(filters.shape[1], filters.shape[0], filters.shape[2], stride=args[4][0])
            if waits(layer):
                self.found.append(slope.dtype)
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("held", ["bf16", "fp32"])
def test_no_filters_of_a_run_make_threads_wait(held: str) -> None:
    settings = {"batch": 4, "g_steps": 2, "s_steps": 3, "warm_up": 0, "width": 32, "capacity": 8}
    run = Pair.of("resnet8:resnet8").run("fast", settings, precision=held)
    assert any(isinstance(layer, SteadyConv2d) for layer in run.student.modules()) == (held == "bf16")
    with FilterGradients() as gradients:
        run.advance()
    assert len(gradients.found) == 2 * 3 + 3 * 2  # the student's; the generator's two blocks and last layer
    assert set(gradients.found) == {torch.float32}
