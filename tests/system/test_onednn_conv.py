"""Filters whose gradient each thread takes of a part of the batch: the same passes, and no thread that waits."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dfkd_lab import nets
from dfkd_lab.bench.overhead import Pair
from dfkd_lab.engine.precision import Autocast
from dfkd_lab.system import onednn_conv
from dfkd_lab.system.onednn_conv import SteadyConv2d, convolution, replace_waiting, waits
from tests.support import tiny

CPU = torch.device("cpu")
HALF = Autocast(CPU, "bf16")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("batch", "groups"), [(4, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_pass_is_the_same_and_the_gradients_are_those_of_32_bits_rounded(
    transposed: bool, batch: int, groups: int
) -> None:
    torch.manual_seed(0)
    filters, bias = torch.randn(80, 40, 4, 4), torch.randn(40 * groups if transposed else 80)
    images = torch.rand(batch, 80 if transposed else 40 * groups, 8, 8)
    assert waits(filters, groups)
    geometry: dict[str, Any] = {"stride": (2, 2), "padding": (1, 1), "groups": groups, "transposed": transposed}

    def passed(convolve: Callable[..., Tensor], autocast: Autocast) -> tuple[Tensor, ...]:
        given = [each.to(torch.bfloat16).float().requires_grad_() for each in (images, filters, bias)]
        with autocast:
            maps = convolve(given[0].to(torch.bfloat16) if autocast is HALF else given[0], *given[1:])
        slope = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
        maps.backward(slope.to(maps.dtype))
        return maps, *(each.grad for each in given)

    plain: Callable[..., Tensor] = F.conv_transpose2d if transposed else F.conv2d
    ours = passed(lambda *given: convolution(*given, **geometry), HALF)
    theirs = passed(lambda *given: plain(*given, stride=2, padding=1, groups=groups), HALF)
    exact = passed(lambda *given: plain(*given, stride=2, padding=1, groups=groups), Autocast(CPU, "fp32"))
    assert ours[0].dtype == torch.bfloat16
    assert all(map(torch.equal, ours[:2], theirs[:2]))
    for mine, wanted in zip(ours[2:], exact[2:], strict=True):
        assert mine.dtype == torch.float32
        assert (mine - wanted).norm() <= 0.004 * wanted.norm()  # 8 bits
    torch.testing.assert_close(ours[3], exact[3])  # a sum in 32 bits


@pytest.mark.usefixtures("two_threads")
def test_a_compiler_traces_it_and_the_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1))
    replace_waiting(layer)
    images = torch.rand(4, 64, 8, 8)

    def gradients(network: Callable[[Tensor], Tensor]) -> list[Tensor]:
        with HALF:
            maps = network(images)
        return list(torch.autograd.grad(maps.float().square().sum(), list(layer.parameters())))

    traced = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for one, other in zip(gradients(layer), gradients(traced), strict=True):
        torch.testing.assert_close(one, other)


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
    ("layer", "with_amx", "without"),
    [
        (nn.Conv2d(3, 16, 3), False, False),
        (nn.Conv2d(16, 16, 3, stride=2), False, False),
        (nn.Conv2d(16, 32, 3, stride=2), False, True),
        (nn.Conv2d(3, 64, 3), False, True),
        (nn.Conv2d(56, 56, 3), True, True),
        (nn.Conv2d(64, 32, 1), True, False),
        (nn.Conv2d(64, 64, 3, groups=4), False, False),
        (nn.Conv2d(128, 128, 3, groups=2), True, True),
        (nn.ConvTranspose2d(64, 32, 4), False, True),
        (nn.ConvTranspose2d(32, 64, 4), True, True),
    ],
)
def test_threads_wait_where_more_channels_than_one_block_are_shared_out(
    layer: nn.Conv2d | nn.ConvTranspose2d, with_amx: bool, without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for amx, expected in ((True, with_amx), (False, without)):
        monkeypatch.setattr(onednn_conv, "AMX", amx)
        assert waits(layer.weight, layer.groups) == expected


@pytest.mark.usefixtures("two_threads")
def test_one_thread_waits_for_nobody_and_many_sums_are_left_to_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = torch.randn(64, 64, 3, 3).requires_grad_()

    def is_shared_out() -> bool:
        with HALF:
            maps = convolution(torch.rand(2, 64, 4, 4), filters, None, stride=(1, 1), padding=(1, 1))
        return "Steady" in type(maps.grad_fn).__name__

    assert is_shared_out()
    monkeypatch.setattr(onednn_conv, "MOST_BYTES", 2 * 2 * filters.numel() - 1)
    assert not is_shared_out()
    monkeypatch.undo()
    torch.set_num_threads(1)
    assert not is_shared_out()


def test_only_what_would_wait_is_changed_and_keeps_its_parameters() -> None:
    net = nets.classifier("resnet8", 3, 10)
    before = dict(net.named_parameters())
    replace_waiting(net)
    steady = {name for name, layer in net.named_modules() if isinstance(layer, SteadyConv2d)}
    assert "layer3.0.conv2" in steady  # 64 channels
    assert "layer1.0.conv1" not in steady  # 16
    assert all(before[name] is each for name, each in net.named_parameters())
    circular = nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular")
    odd = nn.Sequential(nn.Conv2d(64, 64, 3, padding="same"), circular, nn.Conv2d(64, 64, 3).requires_grad_(False))
    assert all(waits(layer.weight) for layer in odd if isinstance(layer, nn.Conv2d))
    replace_waiting(odd)
    assert {type(layer) for layer in odd} == {nn.Conv2d}


class FilterGradients(TorchDispatchMode):
    """Counts gradients of filters in bfloat16 that would make threads wait, and those shared out by batch instead."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting, self.shared_out = 0, 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator.overloadpacket.__name__ == "convolution_backward" and args[10][1]:
            slope, _, filters = args[:3]
            groups = args[9]
            if slope.dtype == torch.bfloat16 and waits(filters, groups):
                by_batch = groups % torch.get_num_threads() == 0
                self.shared_out += by_batch
                self.waiting += not by_batch
        return operator(*args, **(kwargs or {}))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("method", "held"), [("fast", "bf16"), ("fast", "fp32"), ("pre_dfkd", "bf16")])
def test_no_filters_of_a_run_make_threads_wait(method: str, held: str) -> None:
    run = Pair.of("resnet8:resnet8").run(method, {**tiny(method), "width": 48}, precision=held)
    assert any(isinstance(layer, SteadyConv2d) for layer in run.student.modules()) == (held == "bf16")
    with FilterGradients() as gradients:
        run.advance()
        run.advance()
    assert gradients.waiting == 0
    assert (gradients.shared_out >= 10) == (held == "bf16")  # the student's 64 channels, the generator's 48 and more
