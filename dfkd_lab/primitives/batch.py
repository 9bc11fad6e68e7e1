"""A batch of images with what is known of each, and the two units images are held in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Batch:
    """Images [N, C, H, W] in [0, 1] with what is known of each row; what nobody knows is None."""

    images: Tensor
    labels: Tensor | None = None
    """The target class [N]."""
    predicted: Tensor | None = None
    """The class [N] the teacher predicted when the image was made."""
    certainty: Tensor | None = None
    """The teacher's probability [N] of the target class when the image was made; without one, of its own class."""
    index: Tensor | None = None
    """The place [N] in the memory the image was read from."""
    weights: Tensor | None = None
    """The weight [N] of each sample in the student's loss."""
    codes: Tensor | None = None
    """The latent code [N, Z] each image was decoded from."""
    confidence: Tensor | None = None
    """The teacher's largest probability [N], of images that are shown."""
    shares: Tensor | None = None
    """Of dense predictions, the share [N, K] of each class in an image: its mean probability over the pixels."""
    logits: Tensor | None = None
    """The teacher's logits [N, K] of exactly these images, which then must not be augmented again."""


def to_float(images: Tensor) -> Tensor:
    """Images in [0, 1].

    Args:
        images: uint8 in [0, 255], or float, which is returned as it is.

    Returns:
        Float32 in [0, 1], or ``images``.
    """
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def to_uint8(images: Tensor) -> Tensor:
    """Images as bytes, cut off as in the field's code: the largest of the 256 levels that is not above.

    Args:
        images: Float in [0, 1], clipped where it is outside, or uint8, which is returned as it is.

    Returns:
        uint8 in [0, 255]; of what :func:`to_float` made of bytes, these bytes.
    """
    if images.dtype == torch.uint8:
        return images
    images = images.clamp(0, 1)
    levels = (images * 255).floor()
    # a product may round to below the level that it stands for, and an image that is stored again would darken
    return levels.add_((levels + 1) / 255 <= images).to(torch.uint8)


def class_shares(probabilities: Tensor) -> Tensor:
    """The mean probability [K] of each class, over images and pixels.

    Args:
        probabilities: [N, K], or [N, K, H, W] of dense predictions.
    """
    return probabilities.mean([0, *range(2, probabilities.ndim)])


def of_images(probabilities: Tensor) -> Tensor:
    """The probability [N, K] of each class in an image; of dense predictions [N, K, H, W] the mean over its pixels."""
    return probabilities.flatten(2).mean(2) if probabilities.ndim > 2 else probabilities


def class_and_shares(logits: Tensor) -> tuple[Tensor, Tensor | None]:
    """The class [N] of each image, and of dense predictions the share [N, K] of each class in it.

    Inferred for dense predictions: no paper says of which class a scene is; here of that with the largest share.

    Args:
        logits: [N, K], or [N, K, H, W].
    """
    if logits.ndim == 2:
        return logits.argmax(1), None
    shares = of_images(logits.softmax(1))
    return shares.argmax(1), shares
