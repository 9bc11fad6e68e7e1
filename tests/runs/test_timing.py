"""What a run will take is its arithmetic at a timed speed; timing a step changes nothing of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dfkd_lab import Session, plan
from dfkd_lab.engine import flops
from dfkd_lab.runs import timing

pytestmark = pytest.mark.slow

SHAPE = (1, 16, 16)
CPU = torch.device("cpu")


@pytest.mark.parametrize("method", ["ssd_kd", "dafl", "kd", "deepinversion"])
def test_seconds_are_operations_over_speed(make_run: Callable[..., Any], method: str) -> None:
    run = make_run(method, rounds=7)
    (synthesis, distillation) = flops.by_phase(run, torch.zeros(1, *SHAPE))
    warm_up = run.recipe.schedule.warm_up
    speed = timing.Speed(teacher=10.0, student=5.0)
    by_hand = (7 * synthesis.teacher + (7 - warm_up) * distillation.teacher) / 10
    by_hand += (7 * synthesis.student + (7 - warm_up) * distillation.student) / 5
    assert speed.seconds(run, SHAPE) == pytest.approx(by_hand)
    assert speed.seconds(run, SHAPE, done=7) == 0
    assert speed.seconds(run, SHAPE, done=6) < speed.seconds(run, SHAPE, done=2) < speed.seconds(run, SHAPE)


@pytest.mark.parametrize("method", ["ssd_kd", "pre_dfkd", "fast"])
def test_a_timed_run_computes_the_same(make_spec: Callable[..., Any], method: str) -> None:
    weights = []
    for name, timed in (("plain", False), ("timed", True)):
        session = Session(make_spec(method, out=name))
        if timed:
            assert timing.expected(session.run, SHAPE).startswith("about ")
        list(session)
        weights.append([each.clone() for each in session.run.student.state_dict().values()])
    assert all(torch.equal(mine, other) for mine, other in zip(*weights, strict=True))
    assert timing.expected(session.run, SHAPE) == "", "nothing is to come"


def test_a_plan_can_be_timed_before_there_is_a_session() -> None:
    resolved = plan(method="dafl", rounds=2)
    speed = timing.time_a_step(resolved.composed, resolved.teacher.card.shape)
    assert speed.teacher > 0
    assert speed.student > 0
    assert speed.seconds(resolved.composed, SHAPE) > 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(12, "12 s"), (200, "3 min"), (9000, "2.5 h"), (165_600, "46 h"), (400_000, "5 days")]
)
def test_what_is_ahead_is_said_in_words(seconds: float, words: str) -> None:
    assert timing.sentence(seconds, CPU) == f"about {words} on this CPU, by one timed step"
    assert "this GPU" in timing.sentence(seconds, torch.device("cuda"))
