"""Views keep the shape, draw for each sample, and let the gradient through."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dfkd_lab.primitives.views import CropFlip, Identity, Roll

VIEWS = [Identity(), CropFlip(2, True), CropFlip(0, True), CropFlip(3, False), Roll(2, True), Roll(0, False)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def same_image(n: int) -> Tensor:
    """``n`` copies of an image whose pixels all differ and are never 0."""
    return (1 + torch.arange(2 * 5 * 6.0)).view(1, 2, 5, 6).expand(n, -1, -1, -1)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: type(view).__name__)
def test_keeps_the_shape_and_lets_the_gradient_through(view: Any) -> None:
    images = torch.rand(7, 2, 5, 6, requires_grad=True)
    seen = view(images)
    assert seen.shape == images.shape
    seen.sum().backward()
    assert images.grad.abs().sum() > 0
    assert images.grad.max() == 1  # no pixel is read twice


@pytest.mark.parametrize("view", [CropFlip(2, False), CropFlip(0, True), Roll(2, False)])
def test_each_sample_has_its_own_draw(view: Any) -> None:
    seen = view(same_image(64))
    assert len(seen.unique(dim=0)) > 1


def crops(padding: int) -> set[bytes]:
    padded = torch.nn.functional.pad(same_image(1), [padding] * 4)
    places = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return {padded[0, :, top : top + 5, left : left + 6].numpy().tobytes() for top, left in places}


def test_a_crop_is_one_of_all_crops_of_the_padded_image_and_all_occur() -> None:
    seen = CropFlip(1, flip=False)(same_image(400))
    assert {image.numpy().tobytes() for image in seen} == crops(1)


def test_a_flip_mirrors_about_half_and_without_it_none() -> None:
    images = same_image(1000)
    mirrored = (CropFlip(0, flip=True)(images) == images.flip(3)).flatten(1).all(1)
    assert 400 < int(mirrored.sum()) < 600
    assert torch.equal(CropFlip(0, flip=True)(images)[~mirrored].sum(), images[~mirrored].sum())
    assert torch.equal(CropFlip(0, flip=False)(images), images)
    assert torch.equal(Roll(0, flip=False)(images), images)


def test_a_roll_permutes_the_pixels_and_goes_no_further_than_its_distance() -> None:
    images = same_image(300)
    seen = Roll(1, flip=False)(images)
    assert torch.equal(seen.flatten(1).sort(1).values, images.flatten(1).sort(1).values)
    wanted = {images[0].roll((down, right), (1, 2)).numpy().tobytes() for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert {image.numpy().tobytes() for image in seen} == wanted
