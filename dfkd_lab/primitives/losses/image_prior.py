"""What a natural image is taken to look like, without any network: smooth and not too strong (DeepInversion).

Both are taken in network units, images as the teacher's normalization makes them: for these the published weights are.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from dfkd_lab.primitives.losses.base import LossFunction
from dfkd_lab.primitives.observer import Observation

Units = Callable[[Tensor], Tensor]


def total_variation(units: Units, norm: str = "l2") -> LossFunction:
    """The differences of an image to four neighbors of each pixel (DeepInversion, R_TV).

    Args:
        units: Images in [0, 1] -> images in network units.
        norm: "l2" sums the four norms over the whole batch (the authors' code), "l1" the four mean absolute differences
            (the CMI toolbox).

    Returns:
        A loss that gives a scalar.
    """

    def variation(observation: Observation) -> Tensor:
        images = units(observation.images)
        differences = (
            images[:, :, :, 1:] - images[:, :, :, :-1],
            images[:, :, 1:] - images[:, :, :-1],
            images[:, :, 1:, 1:] - images[:, :, :-1, :-1],
            images[:, :, 1:, :-1] - images[:, :, :-1, 1:],
        )
        size = [each.abs().mean() if norm == "l1" else each.norm() for each in differences]
        return torch.stack(size).sum()

    return variation


def l2(units: Units, of_images: bool = False) -> LossFunction:
    """L2 norm of the whole batch (R_l2 of DeepInversion's CIFAR script), or the mean of the images' (ImageNet's).

    Args:
        units: Images in [0, 1] -> images in network units.
        of_images: Whether each image has a norm of its own.

    Returns:
        A loss that gives a scalar.
    """

    def norm(observation: Observation) -> Tensor:
        images = units(observation.images)
        return images.flatten(1).norm(dim=1).mean() if of_images else images.norm()

    return norm
