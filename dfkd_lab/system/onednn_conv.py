"""Convolutions in bfloat16 whose filters get their gradient without threads that wait for each other.

Where oneDNN shares out the channels of one image to several threads, they wait for each other at every image of the
batch, and they wait spinning. Where another process needs a core too, a step then waits for the scheduler some hundred
times and takes seconds instead of milliseconds. Here each thread has a part of the batch and all channels of it; what
is rounded is the sum of a part. In 32 bits threads wait once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.system.device import cpu_capabilities

AMX = bool(cpu_capabilities().get("amx_bf16"))
MOST_BYTES = 2**27
"""Of sums over parts of a batch; filters that would need more, of many threads, are left to oneDNN."""


class SteadyConvolution(torch.autograd.Function):
    """A convolution, or a transposed one, of inputs and filters that are cast to ``half`` precision.

    The gradient of the filters is a sum over ``parts`` of the batch, one for each thread.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        filters: Tensor,
        bias: Tensor | None,
        half: torch.dtype,
        parts: int,
        geometry: tuple[Any, ...],
    ) -> Tensor:
        ctx.dtype, ctx.parts, ctx.geometry = filters.dtype, parts, geometry
        input, filters = input.to(half), filters.to(half)
        ctx.save_for_backward(input, filters)
        return torch.convolution(input, filters, None if bias is None else bias.to(half), *geometry)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        input, filters = ctx.saved_tensors
        *geometry, groups = ctx.geometry
        of_input, of_filters, of_bias = ctx.needs_input_grad[:3]
        backward = torch.ops.aten.convolution_backward
        grad_filters = None
        if of_filters:
            shared_out = [side_by_side(maps, ctx.parts) for maps in (grad_output, input)]
            several = torch.cat([filters] * ctx.parts)
            _, grads, _ = backward(*shared_out, several, None, *geometry, groups * ctx.parts, [False, True, False])
            grad_filters = grads.unflatten(0, (ctx.parts, -1)).sum(0, dtype=ctx.dtype)
        mask = [of_input, False, False]
        grad_input, _, _ = backward(grad_output, input, filters, None, *geometry, groups, mask)
        grad_bias = grad_output.sum((0, 2, 3), dtype=ctx.dtype) if of_bias else None
        return grad_input, grad_filters, grad_bias, None, None, None


@torch.compiler.assume_constant_result
def number_of_threads() -> int:
    """Those of an operator, which a compiler may take for granted."""
    return torch.get_num_threads()


def side_by_side(maps: Tensor, parts: int) -> Tensor:
    """Equal parts of a batch as more channels: [N, C, H, W] -> [N / parts, parts * C, H, W], N filled up with zeros."""
    if missing := -len(maps) % parts:
        maps = F.pad(maps, (0,) * 7 + (missing,))
    rows = maps.permute(0, 2, 3, 1).unflatten(0, (parts, -1))
    return rows.permute(1, 2, 3, 0, 4).flatten(3).permute(0, 3, 1, 2)


def waits(filters: Tensor, groups: int = 1) -> bool:
    """Whether oneDNN's threads would wait at every image for the gradient of ``filters`` in bfloat16.

    It shares out blocks of channels: of 32 inputs with AMX, of 16 on either side without. Found by timing two processes
    side by side on two cores, with 1 to 256 channels, 2 to 8 threads and oneDNN 3.12.

    Args:
        filters: [O, C / groups, h, w], or [C, O / groups, h, w] of a transposed convolution.
        groups: Number of groups of channels that do not mix.
    """
    outputs, inputs, *kernel = filters.shape
    if AMX:
        return inputs > 32
    return max(kernel) > 1 and max(inputs, outputs // groups) > 16


def convolution(
    input: Tensor,
    filters: Tensor,
    bias: Tensor | None,
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """As ``F.conv2d`` or ``F.conv_transpose2d``, with a gradient of the filters that never waits long.

    Args:
        input: Feature maps [N, C, H, W].
        filters: [O, C / groups, h, w], or [C, O / groups, h, w] if ``transposed``.
        bias: [O] or None.
        stride: In pixels, by axis; so are ``padding`` and ``dilation``.
        padding: Zeros on either side.
        dilation: Distance of the filters' taps.
        groups: Number of groups of channels that do not mix.
        transposed: Whether this is the transposed convolution.

    Returns:
        Feature maps [N, O, H', W'].
    """
    geometry = (stride, padding, dilation, transposed, (0, 0), groups)
    halved = input.device.type == "cpu" and torch.is_autocast_enabled("cpu") and filters.requires_grad
    if halved and waits(filters, groups):
        half, threads = torch.get_autocast_dtype("cpu"), number_of_threads()
        if threads > 1 and threads * filters.numel() * half.itemsize <= MOST_BYTES:
            output: Tensor = SteadyConvolution.apply(input, filters, bias, half, threads, geometry)
            return output
    if transposed:
        return F.conv_transpose2d(input, filters, bias, stride, padding, 0, groups, dilation)
    return F.conv2d(input, filters, bias, stride, padding, dilation, groups)


class SteadyConv2d(nn.Conv2d):
    """A layer with zeros around its maps, trained by :func:`convolution`."""

    def forward(self, input: Tensor) -> Tensor:
        padding: Any = self.padding
        return convolution(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
        )


def replace_waiting(network: nn.Module) -> None:
    """Have layers of ``network`` that are trained and would make threads wait be :class:`SteadyConv2d` from here on."""
    for layer in network.modules():
        if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            continue
        if layer.weight.requires_grad and waits(layer.weight, layer.groups):
            layer.__class__ = SteadyConv2d  # with its parameters and hooks
