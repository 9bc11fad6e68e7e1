"""What public code certainly has, held against presets: rates, losses and networks that a golden run does not reach."""

from typing import Any

import pytest
import torch

from dfkd_lab import methods, nets
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.recipe import Recipe
from dfkd_lab.engine.schedules import learning_rate
from dfkd_lab.methods import METHODS
from dfkd_lab.nets.large_generators import DCGANGenerator
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.observer import Observation
from tests.reference import losses as twins

STATISTICS = (0.5,) * 3, (0.25,) * 3
NETS = {"classification": ("resnet8", 10), "segmentation": ("unet_8", 11)}


def composed(name: str, preset: str, task: str = "classification", **more: Any) -> Recipe:
    """The recipe of a method's preset on untrained networks for images of 32 pixels; ``more`` are smaller sizes."""
    values = METHODS[name].presets[preset]
    (net, classes), settings = NETS[task], {**methods.own_settings(values), **more}
    return ComposedRun.of(
        METHODS[name](**settings), Frozen(nets.classifier(net, 3, classes), *STATISTICS),
        lambda: Classifier(nets.classifier(net, 3, classes), *STATISTICS), shape=(3, 32, 32), classes=classes,
        rounds=values.get("rounds", 10), seed=0, generator=values.get("generator", "auto"), task=task,
    ).recipe  # fmt: skip


def rates(recipe: Recipe, epochs: tuple[int, ...], rounds: int) -> tuple[list[float], list[float]]:
    """The learning rates of student and generator in these epochs of a run."""
    schedule, synthesizer = recipe.schedule, recipe.synthesizer
    students = [learning_rate(each / rounds, schedule.s_lr, 0, schedule.milestones) for each in epochs]
    return students, [synthesizer.rate(each / rounds) for each in epochs]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("preset", "task", "s_lr"), [("imagenet", "classification", 0.05), ("segmentation", "segmentation", 0.1)]
)
def test_dfads_rates_fall_every_100_of_300_epochs_beyond_cifar(preset: str, task: str, s_lr: float) -> None:
    recipe = composed("dfad", preset, task, batch=4)
    students, generators = rates(recipe, (99, 100, 199, 200), 300)
    assert students == pytest.approx([s_lr, s_lr / 10, s_lr / 10, s_lr / 100])
    assert generators == pytest.approx([1e-3, 1e-4, 1e-4, 1e-5])
    assert isinstance(recipe.synthesizer.net, DCGANGenerator)  # type: ignore[attr-defined]


def test_ddads_rates_fall_and_its_first_batch_norm_counts_as_in_the_code_it_is_taken_from() -> None:
    recipe = composed("ddad", "paper", batch=4)
    students, generators = rates(recipe, (99, 100, 199, 200), 300)
    assert students == pytest.approx([0.1, 0.01, 0.01, 0.001])
    assert generators == pytest.approx([1e-3, 1e-4, 1e-4, 1e-5])
    assert (recipe.losses["bn_gap"].weight, recipe.losses["bn_gap"].loss.first) == (0.1, 5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("preset", ["cifar", "cifar100"])
def test_dfqs_student_of_a_resnet34_learns_at_half_the_rate(preset: str) -> None:
    found = {net: methods.preset_values(METHODS["dfq"], preset, net).get("s_lr", METHODS["dfq"]().s_lr) for net in (
        "resnet34", "vgg11", "wrn40_2")}  # fmt: skip
    assert found == {"resnet34": 0.05, "vgg11": 0.1, "wrn40_2": 0.1}


def test_dfads_generator_seeks_a_logarithm_of_the_distance_where_every_pixel_has_a_class() -> None:
    dense, whole = (composed("dfad", preset, task, batch=4).losses["gap"] for preset, task in (
        ("segmentation", "segmentation"), ("imagenet", "classification")))  # fmt: skip
    t, s = torch.randn(2, 3, 11, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = Observation(torch.zeros(3), t, student=s)
    assert float(dense.loss(seen)) == pytest.approx(twins.log_gap(t.numpy(), s.numpy()))
    assert float(whole.loss(seen).mean()) == pytest.approx(-float((s - t).abs().mean()))


def test_fasts_generator_has_its_own_rate_at_224_pixels_and_that_of_a_whole_phase_elsewhere() -> None:
    for preset, rate in (("imagenet", 1e-4), ("cifar", 3e-3 * 5)):
        synthesizer = composed("fast", preset, batch=4, capacity=8).synthesizer
        assert synthesizer.optimizer.param_groups[0]["lr"] == pytest.approx(rate)  # type: ignore[attr-defined]
