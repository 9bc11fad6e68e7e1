"""Mean and variance of each channel over a batch of maps, in 32 bits whatever the maps are in."""

from typing import Any

import torch
from torch import Tensor


class Moments(torch.autograd.Function):
    """``Moments.apply(maps [N, C, H, W])``: mean and biased variance [C].

    By batch norm's own kernels and with its gradient in closed form: on a CPU several times as fast as torch.var_mean.
    Cannot be differentiated twice.
    """

    @staticmethod
    def forward(context: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        held = torch.promote_types(maps.dtype, torch.float32)  # the weights' precision is that of the moments
        one = torch.ones(maps.shape[1], device=maps.device, dtype=held)
        _, mean, inverse = torch.native_batch_norm(maps, one, torch.zeros_like(one), None, None, True, 0.0, 0.0)
        context.save_for_backward(maps, mean)
        return mean, torch.where(inverse > 0, inverse**-2, 0)  # a CPU says 0 for the inverse of 0

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        maps, mean = context.saved_tensors
        count = maps.numel() // maps.shape[1]
        slope = 2 / count * of_variance
        constant = of_mean / count - mean * slope
        slope, constant = (each.view(-1, 1, 1).to(maps.dtype) for each in (slope, constant))
        return torch.addcmul(constant, maps, slope)
