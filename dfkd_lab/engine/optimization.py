"""What the loop trains by: the student's optimizer, and networks that are held while another learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dfkd_lab.engine.recipe import Schedule


class frozen:
    """``with frozen(student)``: no gradient reaches its parameters."""

    def __init__(self, module: nn.Module):
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def keep_counters_on_host(module: nn.Module) -> None:
    """Let the batch norms of ``module`` count their batches on the host: on a device each count is a kernel of its own.

    Not for a network that is compiled, in whose graph the counts are.
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.num_batches_tracked is not None:
            layer.num_batches_tracked = layer.num_batches_tracked.cpu()


def student_optimizer(student: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The student's optimizer."""
    settings: dict[str, Any] = {"lr": schedule.s_lr, "weight_decay": schedule.weight_decay, "fused": True}
    if schedule.optimizer == "adam":
        return torch.optim.Adam(student.parameters(), **settings)
    return torch.optim.SGD(student.parameters(), momentum=schedule.momentum, **settings)
