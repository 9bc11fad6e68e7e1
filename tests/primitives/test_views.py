"""Views keep the shape, draw for each sample, and let the gradient through."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dfkd_lab.primitives import views
from dfkd_lab.primitives.views import CropFlip, Identity, ResizedCrop, Roll

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


@pytest.mark.parametrize("view", [CropFlip(2, False), CropFlip(0, True)])
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
    image = same_image(1)
    seen = {Roll(1, flip=False)(image)[0].numpy().tobytes() for _ in range(300)}
    places = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert seen == {image[0].roll(place, (1, 2)).numpy().tobytes() for place in places}
    mirrored = [bool((Roll(0, flip=True)(image) == image.flip(3)).all()) for _ in range(300)]
    assert 100 < sum(mirrored) < 200


def test_a_roll_is_one_draw_for_the_whole_batch() -> None:
    for _ in range(20):
        assert len(Roll(2, flip=True)(same_image(8)).unique(dim=0)) == 1


# a part, enlarged


def ramp(n: int, size: int = 16) -> Tensor:
    """``n`` images [2, size, size] whose pixels say where they are: their row, and their column."""
    row, column = torch.meshgrid(torch.arange(size * 1.0), torch.arange(size * 1.0), indexing="ij")
    return torch.stack([row, column]).expand(n, -1, -1, -1)


def test_a_part_keeps_the_shape_and_lets_the_gradient_through() -> None:
    images = torch.rand(7, 2, 5, 6, requires_grad=True)
    seen = ResizedCrop(0.25, True)(images)
    assert seen.shape == images.shape
    seen.sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert float(images.grad.sum()) == pytest.approx(seen.numel(), rel=1e-4)  # each is a mean of pixels


def test_a_part_is_a_window_of_the_area_and_aspect_asked_for_linear_between_pixels() -> None:
    seen = ResizedCrop(0.25, flip=False)(ramp(2000))
    inner = seen[:, :, 4:12, 4:12]  # away from the border, where positions are cut off
    down, right = inner[:, 0].diff(dim=1).flatten(1), inner[:, 1].diff(dim=2).flatten(1)
    for steps in (down, right):
        assert float((steps.max(1).values - steps.min(1).values).max()) < 1e-4
    height, width = down[:, 0], right[:, 0]
    area, aspect = height * width, width / height
    whole = (height > 0.999) | (width > 0.999)
    assert 0.24 < float(area.min()) < 0.26
    assert 0.97 < float(area.max()) <= 1 + 1e-4
    assert float(area[~whole].mean()) < float(area[whole].mean())
    assert 3 / 4 - 1e-3 < float(aspect[~whole].min()) < 0.78
    assert 1.28 < float(aspect[~whole].max()) < 4 / 3 + 1e-3
    assert float(seen.min()) >= 0
    assert float(seen.max()) <= 15


def test_parts_are_from_all_over_the_image_and_flipped_only_if_asked() -> None:
    seen = ResizedCrop(0.25, flip=False)(ramp(1000))
    first, last = seen[:, 0, 0, 0], seen[:, 0, -1, 0]
    assert float(first.min()) < 0.5
    assert float(last.max()) > 14.5
    assert float(first.max()) > 7
    assert float(last.min()) < 8
    assert (seen[:, 1, 0, -1] > seen[:, 1, 0, 0]).all()
    assert 400 < int((lambda x: x[:, 1, 0, -1] < x[:, 1, 0, 0])(ResizedCrop(0.25, flip=True)(ramp(1000))).sum()) < 600


def test_interpolation_is_bilinear_sampling_and_of_all_of_an_axis_nothing_changes() -> None:
    images, share, place = torch.rand(5, 2, 6, 9), 0.5 + torch.rand(5, 1) / 2, torch.rand(5, 1)
    found = views._interpolation(6, share, place)[:, None] @ images
    theta = torch.zeros(5, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, 1, 2] = 1, share[:, 0], ((1 - share) * (2 * place - 1))[:, 0]
    grid = torch.nn.functional.affine_grid(theta, [5, 2, 6, 9], align_corners=False)
    wanted = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(views._interpolation(6, torch.ones(5, 1), place), torch.eye(6).expand(5, -1, -1), atol=1e-5)
