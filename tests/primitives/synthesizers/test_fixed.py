"""Sources that never learn: what they give, that they keep nothing, and that a few images are drawn evenly."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.errors import RecipeError
from dfkd_lab.nets import Generator
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers import FixedImages, FixedSource, NoisePixels, Untrained, stratified_sample

SHAPE = (2, 8, 8)
MEAN, STD = torch.tensor([0.3, 0.6]).view(2, 1, 1), torch.tensor([0.2, 0.1]).view(2, 1, 1)


def given() -> FixedImages:
    labels = torch.arange(5)
    source = FixedImages(7)
    source.give(labels.view(5, 1, 1, 1) / 5 + torch.zeros(5, *SHAPE), labels)
    return source


def untrained() -> Untrained:
    torch.manual_seed(0)
    return Untrained(Generator(6, SHAPE, 8, "tanh_bn", MEAN, STD), 6, 7)


SOURCES = [given, lambda: NoisePixels(SHAPE, MEAN, STD, 7), untrained]


@pytest.mark.parametrize("make", SOURCES, ids=["given", "noise", "untrained"])
def test_a_source_gives_as_many_images_as_it_is_asked_for_and_refuses_to_learn(
    make: Callable[[], FixedSource],
) -> None:
    source = make()
    before = {name: value.clone() for name, value in source.state_dict().items()}
    source.open()
    rendered, closed, drawn = source.render(), source.close(), source.sample(3)
    assert [batch.images.shape for batch in (rendered, closed, drawn)] == [(7, *SHAPE), (7, *SHAPE), (3, *SHAPE)]
    assert source.can_sample
    assert source.labelled is source.sample_labelled is (closed.labels is not None)
    assert not torch.equal(rendered.images, closed.images)
    assert not closed.images.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in source.state_dict().items())
    with pytest.raises(TypeError, match="nothing to train: give it a schedule with g_steps=0"):
        source.step(torch.zeros(()), Observation(closed.images, torch.zeros(7, 2)))


def test_given_images_keep_their_labels_are_equally_likely_and_are_in_no_state_dict() -> None:
    torch.manual_seed(0)
    source = given()
    batch = source.sample(5000)
    assert batch.labels is not None
    assert torch.equal(batch.images[:, 0, 0, 0], batch.labels / 5)
    assert torch.bincount(batch.labels).tolist() == pytest.approx([1000] * 5, abs=120)
    assert source.state_dict() == {}
    assert len(list(source.buffers())) == 2  # yet they follow to a device


def test_whoever_was_given_no_images_has_none() -> None:
    with pytest.raises(RecipeError, match="there are no real images here"):
        FixedImages(7).sample(1)


@pytest.mark.parametrize("pixels", ["gaussian", "uniform"])
def test_noise_has_the_mean_and_deviation_of_the_normalization(pixels: str) -> None:
    torch.manual_seed(0)
    images = NoisePixels(SHAPE, MEAN, STD, 7, pixels).sample(2000).images
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0.3, 0.6], abs=5e-3)
    assert images.std((0, 2, 3)).tolist() == pytest.approx([0.2, 0.1], rel=1e-2)
    largest = ((images - MEAN) / STD).abs().max()
    assert bool(largest <= math.sqrt(3) + 1e-5) is (pixels == "uniform")


def test_an_untrained_generator_normalizes_by_the_batch_and_cannot_be_trained() -> None:
    source = untrained()
    images = source.sample(64).images
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0.3, 0.6], abs=1e-4)
    assert not any(each.requires_grad for each in source.parameters())
    norms = [layer for layer in source.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(int(layer.num_batches_tracked or 0) == 0 for layer in norms)


# a few


def counts(labels: Tensor, n: int) -> list[int]:
    return torch.bincount(labels[stratified_sample(labels, n)], minlength=int(labels.max()) + 1).tolist()


def test_a_few_are_drawn_evenly_without_replacement_while_a_class_lasts() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0] * 50 + [1] * 2 + [2] * 30)[torch.randperm(82)]
    assert counts(labels, 6) == [2, 2, 2]
    assert counts(labels, 12) == [5, 2, 5]
    assert counts(labels, 72) == [40, 2, 30]
    assert sorted(stratified_sample(labels, 82).tolist()) == list(range(82))
    assert len(set(stratified_sample(labels, 40).tolist())) == 40
    assert sorted(counts(labels, 7)) == [2, 2, 3]


def test_a_few_are_a_random_choice_also_of_the_class_that_comes_once_more() -> None:
    torch.manual_seed(0)
    labels = torch.arange(4).repeat(10)
    choices = [stratified_sample(labels, 5) for _ in range(200)]
    assert {int(place) for choice in choices for place in choice} == set(range(40))
    extra = [torch.bincount(labels[choice], minlength=4).argmax() for choice in choices]
    assert torch.bincount(torch.stack(extra), minlength=4).tolist() == pytest.approx([50] * 4, abs=25)
