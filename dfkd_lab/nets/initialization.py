"""How weights are drawn."""

import torch
from torch import nn

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def dcgan_init(net: nn.Module) -> None:
    """Draw every weight anew as DCGAN does: N(0, 0.02) for layers, N(1, 0.02) for batch norms, biases 0 (CMI).

    Args:
        net: Changed in place; running statistics of its batch norms are forgotten.
    """
    for layer in net.modules():
        if isinstance(layer, LAYERS):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            if layer.affine:
                nn.init.normal_(layer.weight, 1.0, 0.02)
        if isinstance(layer, (*LAYERS, nn.BatchNorm2d)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def reset_parameters(net: nn.Module) -> None:
    """Draw every weight anew as torch does by default (NAYER).

    Args:
        net: Changed in place.
    """
    for layer in net.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
