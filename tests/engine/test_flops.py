"""The schedule of evaluations follows from counted operations, and counting leaves a run as it was."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd_lab import methods
from dfkd_lab.engine import flops
from dfkd_lab.engine.loop import Run

MakeRun = Callable[..., Run]
IMAGE = torch.zeros(1, 1, 16, 16)


def test_operations_of_a_small_network_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2, padding=1, groups=2),
        nn.Flatten(), nn.Linear(4 * 4 * 4, 10),
    )  # fmt: skip
    first, second, linear = 8 * 8 * 8 * 3 * 9, 4 * 4 * 4 * 4 * 9, 64 * 10
    assert flops.forward(net, torch.zeros(1, 3, 8, 8)) == 2 * (first + second + linear)
    assert flops.forward(net, torch.zeros(5, 3, 8, 8)) == 5 * 2 * (first + second + linear)


@pytest.mark.parametrize(
    ("method", "watched", "draws"), [("ssd_kd", 1, 0), ("dafl", 0, 0), ("dfad", 1, 1), ("kd", 0, 0)]
)
def test_a_round_is_what_its_schedule_says(make_run: MakeRun, method: str, watched: int, draws: int) -> None:
    run = make_run(method)
    schedule, net = run.recipe.schedule, getattr(run.recipe.synthesizer, "net", None)
    teacher, student = flops.forward(run.teacher, IMAGE), flops.forward(run.student, IMAGE)
    generator = flops.forward(net, torch.zeros(1, 8)) if net else 0
    synthesis = schedule.g_steps * (3 * generator + 2 * teacher + 2 * student * watched)
    distillation = schedule.s_steps * (draws * generator + teacher + 3 * student)
    assert flops.a_round(run, IMAGE) == schedule.cycles * 16 * (synthesis + distillation)


@pytest.mark.parametrize("n", [1, 1000, 100_000])
def test_evaluations_are_two_percent_of_the_computing_and_no_rarer(make_run: MakeRun, n: int) -> None:
    run = make_run("ssd_kd")
    every = flops.rounds_between(run, IMAGE.expand(n, -1, -1, -1))
    evaluation, computing = n * flops.forward(run.student, IMAGE), flops.a_round(run, IMAGE)
    assert evaluation <= 0.02 * every * computing
    assert every == 1 or evaluation > 0.02 * (every - 1) * computing


def test_evaluation_images_may_be_larger_than_those_that_are_drawn(make_run: MakeRun) -> None:
    run = make_run("ssd_kd")
    larger = torch.zeros(1, 1, 64, 64)
    evaluation = 5000 * flops.forward(run.student, larger)
    assert evaluation > 5000 * 3 * flops.forward(run.student, IMAGE)
    every = flops.rounds_between(run, larger.expand(5000, -1, -1, -1))
    assert every == math.ceil(evaluation / (0.02 * flops.a_round(run, IMAGE)))


@pytest.mark.parametrize("name", methods.METHODS)
def test_on_digits_every_round_of_every_preset_is_evaluated(make_run: MakeRun, held_out: Any, name: str) -> None:
    preset = {key: value for key, value in methods.find(name).presets["digits"].items() if key != "rounds"}
    assert flops.rounds_between(make_run(name, preset="digits", **preset), held_out.images) == 1


@pytest.mark.parametrize("name", ["ssd_kd", "pre_dfkd", "nayer", "fssc", "zskt"])
def test_counting_leaves_the_run_as_it_was(make_run: MakeRun, name: str, ambient: Callable[[int], None]) -> None:
    plain, counted = make_run(name), make_run(name)
    ambient(5)
    before, modes = torch.get_rng_state(), [module.training for module in counted.student.modules()]
    flops.rounds_between(counted, IMAGE)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in counted.student.modules()] == modes
    assert counted.observer.queries == 0
    assert same(plain.state_dict(), counted.state_dict())
    reports = [(report.terms, report.student, report.health) for report in plain]
    assert reports == [(report.terms, report.student, report.health) for report in counted]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(("every", "found"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5])])
def test_evaluation_goes_by_the_number_of_the_round_and_the_last_is_always_evaluated(
    make_run: MakeRun, every: int, found: list[int]
) -> None:
    run = make_run("dafl", rounds=5)
    run.evaluate_every = every
    assert [report.round for report in run if report.accuracy is not None] == found
