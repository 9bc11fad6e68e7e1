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


def fan_out_init(net: nn.Module) -> None:
    """Draw the filters of convolutions anew as He et al. do (arXiv:1502.01852): N(0, 2 / (k^2 outputs)).

    Args:
        net: Changed in place; what is no filter stays.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def kaiming(net: nn.Module) -> None:
    """Start a ResNet-18, -34 or -50 as DFAD's code does: filters by :func:`fan_out_init`, the rest as it is.

    Args:
        net: Changed in place if it is one of ours of that name; any other network stays, also a user's own.
    """
    if getattr(net, "starts_as_torch_does", False):
        fan_out_init(net)


def reset_parameters(net: nn.Module) -> None:
    """Draw every weight anew as torch does by default (NAYER).

    Args:
        net: Changed in place.
    """
    for layer in net.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
