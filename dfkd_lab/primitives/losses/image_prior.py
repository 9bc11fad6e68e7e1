"""What a natural image is taken to look like, without any network: smooth and not too strong (DeepInversion)."""

import torch
from torch import Tensor

from dfkd_lab.primitives.observer import Observation


def total_variation(observation: Observation) -> Tensor:
    """Sum of the L2 norms of the differences to four neighbors, each over the whole batch (DeepInversion, R_TV).

    Returns:
        A scalar.
    """
    images = observation.images
    differences = (
        images[:, :, :, 1:] - images[:, :, :, :-1],
        images[:, :, 1:] - images[:, :, :-1],
        images[:, :, 1:, 1:] - images[:, :, :-1, :-1],
        images[:, :, 1:, :-1] - images[:, :, :-1, 1:],
    )
    return torch.stack([difference.norm() for difference in differences]).sum()


def l2(observation: Observation) -> Tensor:
    """L2 norm of each image (DeepInversion, R_l2).

    Returns:
        The loss [N].
    """
    return observation.images.flatten(1).norm(dim=1)
