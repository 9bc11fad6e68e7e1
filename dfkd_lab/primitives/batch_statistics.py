"""Mean and variance of each channel over a batch of feature maps, in 32 bits whatever the maps are in."""

from typing import Any

import torch
from torch import Tensor


class BatchStatistics(torch.autograd.Function):
    """``BatchStatistics.apply(maps)``: mean and biased variance of each channel.

    By batch norm's own kernels, with the gradient in closed form: on a CPU four to five times as fast as
    ``torch.var_mean``. Cannot be differentiated twice.

    Args:
        maps: Feature maps [N, C, H, W].

    Returns:
        Mean [C] and biased variance [C], in float32 (float64 for maps in float64).
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(maps.dtype, torch.float32)  # the kernel returns statistics in its weights' type
        ones = torch.ones(maps.shape[1], device=maps.device, dtype=dtype)
        # compiled for a CPU it returns them in the maps' type; there a conversion is no pass of its own
        shown = maps.to(dtype) if torch.compiler.is_compiling() else maps
        _, mean, inverse_std = torch.native_batch_norm(shown, ones, torch.zeros_like(ones), None, None, True, 0.0, 0.0)
        ctx.save_for_backward(maps, mean)
        return mean, torch.where(inverse_std > 0, inverse_std**-2, 0)  # a CPU's kernel gives 0 for the inverse of 0

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_variance: Tensor) -> Tensor:
        maps, mean = ctx.saved_tensors
        # d mean / d x = 1 / count and d variance / d x = 2 (x - mean) / count: one factor and one constant a channel
        count = maps.numel() // maps.shape[1]
        factor = 2 / count * grad_variance
        constant = grad_mean / count - mean * factor
        factor, constant = (each.view(-1, 1, 1).to(maps.dtype) for each in (factor, constant))
        return torch.addcmul(constant, maps, factor)
