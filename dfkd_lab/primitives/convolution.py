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


class Convolution(torch.autograd.Function):
    """A convolution, or a transposed one, of maps and filters that are cast to the ``half`` precision."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, filters: Tensor, bias: Tensor | None, half: torch.dtype, geometry: tuple[Any, ...]
    ) -> Tensor:
        x, short = x.to(half), filters.to(half)
        context.save_for_backward(x, short, filters)
        context.geometry = geometry
        return torch.convolution(x, short, None if bias is None else bias.to(half), *geometry)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, short, filters = context.saved_tensors
        to_x, to_filters, to_bias = context.needs_input_grad[:3]
        back, sizes = torch.ops.aten.convolution_backward, [slope.shape[1]]
        of_x, _, _ = back(slope, x, short, sizes, *context.geometry, [to_x, False, False])
        wanted = [False, to_filters, to_bias]
        _, of_filters, of_bias = back(slope.float(), x.float(), filters, sizes, *context.geometry, wanted)
        return of_x, of_filters, of_bias, None, None


def convolution(
    x: Tensor,
    filters: Tensor,
    bias: Tensor | None,
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """As ``F.conv2d`` or ``F.conv_transpose2d``, with a gradient of the filters that never waits long."""
    geometry = (stride, padding, dilation, transposed, (0, 0), groups)
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and filters.requires_grad:
        found: Tensor = Convolution.apply(x, filters, bias, torch.get_autocast_dtype("cpu"), geometry)
        return found
    if transposed:
        return F.conv_transpose2d(x, filters, bias, stride, padding, 0, groups, dilation)
    return F.conv2d(x, filters, bias, stride, padding, dilation, groups)


class SteadyConv2d(nn.Conv2d):
    """A ``Conv2d`` that trains by :func:`convolution`."""

    def forward(self, x: Tensor) -> Tensor:
        padding: Any = self.padding
        return convolution(
            x, self.weight, self.bias, stride=self.stride, padding=padding, dilation=self.dilation, groups=self.groups
        )


def waits(layer: nn.Conv2d) -> bool:
    """Whether oneDNN's threads would wait at every image for the gradient of this layer's filters in bfloat16.

    Found by timing two processes side by side on two cores, with 1 to 256 channels and oneDNN 3.12: kernels larger than
    1x1 that have a stride, or many channels on one side and few on the other.
    """
    fewer, more = sorted((layer.in_channels // layer.groups, layer.out_channels // layer.groups))
    return max(layer.kernel_size) > 1 and (max(layer.stride) > 1 or more > max(31, 2 * fewer))


def train_steadily(network: nn.Module) -> None:
    """Let what is trained of ``network``, and would make threads wait, convolve by :func:`convolution`."""
    for layer in network.modules():
        if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            continue
        if layer.weight.requires_grad and waits(layer):
            layer.__class__ = SteadyConv2d
