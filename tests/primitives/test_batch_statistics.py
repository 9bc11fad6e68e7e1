"""Moments of maps are torch.var_mean's, and so is their gradient."""

import pytest
import torch

from dfkd_lab.primitives.batch_statistics import BatchStatistics


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kind", "near"), [(torch.float32, 1e-4), (torch.bfloat16, 1e-2)])
def test_moments_and_gradient_are_those_of_var_mean(
    kind: torch.dtype, near: float, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    maps = (torch.randn(6, 5, 4, 3) * torch.arange(1, 6).view(5, 1, 1) + 10).to(kind).contiguous(memory_format=layout)
    weights = torch.randn(2, 5)
    ours, plain = (maps.clone().requires_grad_() for _ in range(2))
    variance, mean = torch.var_mean(plain.float(), (0, 2, 3), correction=0)
    found = BatchStatistics.apply(ours)
    assert all(each.dtype == torch.float32 for each in found)
    torch.testing.assert_close(found, (mean, variance), rtol=1e-4, atol=1e-4)
    for pair in ((mean, variance), found):
        (weights * torch.stack(pair)).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=near, atol=near)


def test_the_gradient_is_right_in_double_precision() -> None:
    def moments(maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return BatchStatistics.apply(maps)

    torch.manual_seed(0)
    maps = torch.randn(3, 2, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(moments, maps)


def test_a_constant_channel_has_no_variance() -> None:
    mean, variance = BatchStatistics.apply(torch.full((2, 1, 2, 2), 3.0))
    assert (mean.item(), variance.item()) == (3.0, 0.0)
