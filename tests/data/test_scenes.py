"""Digits on photographs: the same bytes everywhere, nothing of a test scene in a training scene, labels that fit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab import data
from dfkd_lab.data import digits, registry, scenes

SHA256 = {
    True: ("d784b6dac04dfe17c290aa44140e264c18f91e2ace24c256abcaddd02034de4b",
           "69ddb4b416588905fbd7b15381d3988324674885ecfe5396d506e78fcfdcc05a"),
    False: ("936a2d5d66a510115496796a6b43d21e9eb75a87959c723dd7d99dfcd178cb80",
            "66a06fbb6456b1cf5e242fd97b6383b38d750bf4d9c902191aa2e8b6832ab041"),
}  # fmt: skip
both_splits = pytest.mark.parametrize("train", [True, False])


@both_splits
def test_the_scenes_are_the_same_bytes_each_time(train: bool) -> None:
    split = data.training_set("scenes") if train else data.evaluation_set("scenes")
    assert tuple(split.hashes().values()) == SHA256[train]
    assert split.images.shape == (len(split.labels), 1, 32, 32)
    assert split.labels.shape == (3_000 if train else 400, 32, 32)
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.uint8)


@both_splits
def test_a_scene_has_four_digits_and_mostly_background(train: bool) -> None:
    split = scenes.read(train)
    shares = split.labels.flatten().bincount().double() / split.labels.numel()
    assert 0.64 < shares[0] < 0.67
    assert len(shares) == 11
    assert all(0.025 < share < 0.05 for share in shares[1:])
    quadrants = split.labels.unfold(1, 16, 16).unfold(2, 16, 16).flatten(3).flatten(0, 2)
    one_digit = quadrants.max(1, keepdim=True).values
    assert bool((quadrants.eq(one_digit) | quadrants.eq(0)).all())
    assert int(one_digit.min()) > 0
    is_ink = split.labels > 0
    assert int(split.images[:, 0][~is_ink].max()) <= round(0.35 * 255) <= int(split.images[:, 0][is_ink].min())
    assert float((split.images[:, 0] * ~is_ink).double().mean()) > 10  # a photograph, not black


def test_the_row_says_what_the_split_is() -> None:
    row, split = data.find("scenes"), data.evaluation_set("scenes")
    assert (row.task, row.classes, row.class_names) == (split.task, split.classes, split.class_names)
    assert split.task == data.task("scenes") == "segmentation"
    assert split.class_names == ("background", *"0123456789")
    assert row.shape == row.synthesis_shape == tuple(split.images.shape[1:])
    assert (row.ignore, split.ignore, row.is_here) == (None, None, True)
    assert registry.ROWS["scenes"].normalization == data.normalization(data.training_set("scenes").images)


@pytest.mark.parametrize("side", scenes.DIGIT_SIDES)
def test_digits_are_enlarged_as_torch_does_it(side: int) -> None:
    originals, _ = digits.read_originals(train=False)
    enlarged, white = scenes._enlarged(originals.long(), side)
    expected = F.interpolate(originals[:, None] / 16, side, mode="bilinear", align_corners=False)[:, 0]
    assert torch.allclose(enlarged / white, expected, atol=1e-6)


def test_no_digit_of_a_training_scene_is_in_a_test_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each split is made of that split of the digits alone, and no drawing is in both."""
    split_of, read_originals = {}, digits.read_originals

    def read(train: bool) -> tuple[Tensor, Tensor]:
        originals, labels = read_originals(train)
        split_of[train] = {
            (*each.flatten().tolist(), label) for each, label in zip(originals, labels.tolist(), strict=True)
        }
        return originals, labels

    monkeypatch.setattr(digits, "read_originals", read)
    scenes.read(train=True)
    assert [*split_of] == [True]
    scenes.read(train=False)
    assert len(split_of[True]) + len(split_of[False]) == 1_797
    assert not split_of[True] & split_of[False]


@both_splits
def test_no_column_of_a_photograph_is_in_both_splits(monkeypatch: pytest.MonkeyPatch, train: bool) -> None:
    """Photographs with a white left half are white behind every training digit, and black behind every test digit."""
    half_white = np.zeros((2, 60, 80, 3), np.uint8)
    half_white[:, :, :40] = 255
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: type("Bunch", (), {"images": [*half_white]}))
    images = scenes.read(train).images[:, 0]
    background = images[:, 0, 0]  # a corner, which digits hardly reach
    assert int(images.min()) == (77 if train else 0)
    assert float((background == (77 if train else 0)).double().mean()) > 0.9
