"""How numbers are held while networks compute: as 32-bit floats, or as bfloat16 where the device is made for it.

Weights, optimizers, batch-norm statistics and every loss stay in 32 bits; bfloat16 is for the passes of networks alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from dfkd_lab.nets.wrap import Classifier, Frozen, in_eval_mode
from dfkd_lab.system.device import cpu_capabilities
from dfkd_lab.system.onednn_conv import replace_waiting
from dfkd_lab.system.onednn_fusion import fused
from dfkd_lab.system.rng import preserved


def pick(precision: str, device: torch.device) -> str:
    """What "auto", "fp32" or "bf16" means on ``device``: "fp32" or "bf16".

    "auto" takes bfloat16 where the hardware multiplies it faster: a GPU since Ampere, a CPU with AVX512-BF16 or AMX.
    ``python -m dfkd_lab bench`` measures both.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    if device.type != "cpu":
        return "fp32"
    capable = cpu_capabilities()
    return "bf16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "fp32"


ROUNDING = {"fp32": 1e-4, "bf16": 0.05}
"""How far apart logits may be that differ by rounding alone, as a share of the largest."""


class Autocast:
    """``with autocast:`` networks compute in this precision, whatever is around; may be entered again and again."""

    def __init__(self, device: torch.device, precision: str = "fp32"):
        self.device, self.precision = device, precision
        self._entered: list[torch.autocast] = []

    def prepare(self, module: nn.Module, shape: tuple[int, int, int]) -> None:
        """Lay out the filters of ``module`` for these passes, and in half precision hold those of a frozen one so.

        Args:
            module: A network, or what holds some.
            shape: Of the images that a frozen one takes, [C, H, W].
        """
        if self.precision == "bf16" and isinstance(module, Frozen):
            hold_in_bfloat16(module, torch.zeros(2, *shape, device=self.device), self)
        channels_last(module)
        if isinstance(module, Classifier) and not self._passes_channels_last(module, shape):
            for parameter in module.parameters():
                parameter.data = parameter.data.contiguous()
            module.is_contiguous = True
        if self.device.type == "cpu" and self.precision == "bf16":
            replace_waiting(module)

    def fuse(self, network: Frozen, shape: tuple[int, int, int]) -> None:
        """Have the convolutions of a folded network add and rectify as they write their maps, on a CPU.

        The logits are those of before but for rounding, which is checked here on two images; else it stays as it is.

        Args:
            network: Prepared, and asked for nothing but logits; no gradient passes it afterwards.
            shape: Of its images, [C, H, W].
        """
        before, images = network.net, torch.linspace(0, 1, 2 * math.prod(shape)).view(2, *shape)
        if self.device.type != "cpu" or not isinstance(before, fx.GraphModule):
            return
        with torch.no_grad(), self:
            wanted = network(images).float()
            try:
                network.net = fused(before)
                apart = float((network(images).float() - wanted).abs().max())
            except (
                Exception
            ):  # a torch without oneDNN, maps that it does not take, or whatever a user's own network does
                apart = math.inf
        if not apart <= ROUNDING[self.precision] * float(wanted.abs().max()):
            network.net = before

    def _passes_channels_last(self, network: Classifier, shape: tuple[int, int, int]) -> bool:
        """Whether ``network`` takes images and maps with their channels last: one that calls ``view`` may not."""
        images = torch.zeros(2, *shape, device=self.device).to(memory_format=torch.channels_last)
        try:
            with in_eval_mode(network), preserved(), torch.no_grad(), self:
                network(images)
        except RuntimeError:
            return False
        return True

    def __enter__(self) -> None:
        # without the cache of converted weights: a step inside would leave it stale
        inside = torch.autocast(self.device.type, torch.bfloat16, self.precision == "bf16", cache_enabled=False)
        inside.__enter__()
        self._entered.append(inside)

    def __exit__(self, *exception: object) -> None:
        self._entered.pop().__exit__(*exception)


def hold_in_bfloat16(network: Frozen, images: Tensor, autocast: Autocast) -> None:
    """Convert the filters of a frozen network once, not in every pass; the passes have the same bits.

    Linear layers stay as they are: losses on activation maps multiply by their weights in 32 bits.

    Args:
        network: Stays as it is where it cannot pass ``images`` then, as one that leaves autocast inside.
        images: [N, C, H, W] on its device.
        autocast: In half precision.
    """
    layers = [layer for layer in network.modules() if type(layer) is nn.Conv2d]  # not what computes its weights
    parameters = {parameter: parameter.data for layer in layers for parameter in layer.parameters(recurse=False)}
    for parameter, data in parameters.items():
        parameter.data = data.to(torch.bfloat16)
    try:
        with torch.no_grad(), autocast:
            network(images)
        network.is_held_in_bfloat16 = True
    except RuntimeError:
        for parameter, data in parameters.items():
            parameter.data = data


def channels_last(module: nn.Module) -> None:
    """Lay out the filters of ``module`` with their channels last, which convolutions then do with feature maps too.

    Faster on CPU and GPU, in both precisions. Parameters stay the objects they are, for optimizers that hold them.
    """
    for parameter in module.parameters():
        if parameter.ndim == 4:
            # always anew: filters of one input channel count as laid out either way, but only strides that look it
            # make the maps follow
            laid_out = torch.empty_like(parameter, memory_format=torch.channels_last)
            parameter.data = laid_out.copy_(parameter.data)
