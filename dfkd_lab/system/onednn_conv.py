"""Convolutions whose filters get their gradient in 32 bits although the passes are in bfloat16.

Some kernels that oneDNN has for this gradient in bfloat16 let all threads wait for each other at every image of the
batch, and they wait spinning. Where another process needs a core too, a step then waits for the scheduler some hundred
times and takes seconds instead of milliseconds. The kernels for 32 bits wait once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SteadyConvolution(torch.autograd.Function):
    """A convolution, or a transposed one, of inputs and filters that are cast to ``half`` precision."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, filters: Tensor, bias: Tensor | None, half: torch.dtype, geometry: tuple[Any, ...]
    ) -> Tensor:
        input, half_filters = input.to(half), filters.to(half)
        ctx.save_for_backward(input, half_filters, filters)
        ctx.geometry = geometry
        return torch.convolution(input, half_filters, None if bias is None else bias.to(half), *geometry)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        input, half_filters, filters = ctx.saved_tensors
        of_input, of_filters, of_bias = ctx.needs_input_grad[:3]
        backward, sizes = torch.ops.aten.convolution_backward, [grad_output.shape[1]]
        grad_input, _, _ = backward(
            grad_output, input, half_filters, sizes, *ctx.geometry, [of_input, False, False]
        )  # fmt: skip
        _, grad_filters, grad_bias = backward(
            grad_output.float(), input.float(), filters, sizes, *ctx.geometry, [False, of_filters, of_bias]
        )
        return grad_input, grad_filters, grad_bias, None, None


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
    if input.device.type == "cpu" and torch.is_autocast_enabled("cpu") and filters.requires_grad:
        output: Tensor = SteadyConvolution.apply(input, filters, bias, torch.get_autocast_dtype("cpu"), geometry)
        return output
    if transposed:
        return F.conv_transpose2d(input, filters, bias, stride, padding, 0, groups, dilation)
    return F.conv2d(input, filters, bias, stride, padding, dilation, groups)


class ReplacingConv2d(nn.Conv2d):
    """Takes the place of ``layer``; its parameters stay the objects they are, under the same names."""

    def __init__(self, layer: nn.Conv2d):
        padding: Any = layer.padding
        super().__init__(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, padding,  # type: ignore[arg-type]
            layer.dilation, layer.groups, layer.bias is not None, device="meta",  # type: ignore[arg-type]
        )  # fmt: skip
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)


class SteadyConv2d(ReplacingConv2d):
    """``layer``, trained by :func:`convolution`."""

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


def waits(layer: nn.Conv2d) -> bool:
    """Whether oneDNN's threads would wait at every image for the gradient of this layer's filters in bfloat16.

    Found by timing two processes side by side on two cores, with 1 to 256 channels and oneDNN 3.12: kernels larger than
    1x1 that have a stride, or many channels on one side and few on the other.
    """
    fewer, more = sorted((layer.in_channels // layer.groups, layer.out_channels // layer.groups))
    return max(layer.kernel_size) > 1 and (max(layer.stride) > 1 or more > max(31, 2 * fewer))


def replace_waiting(network: nn.Module) -> None:
    """Replace the layers of ``network`` that are trained and would make threads wait by :class:`SteadyConv2d`."""
    for name, layer in list(network.named_modules()):
        if not name or type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            continue
        if layer.weight.requires_grad and waits(layer) and not layer._forward_hooks and not layer._forward_pre_hooks:
            network.set_submodule(name, SteadyConv2d(layer))
