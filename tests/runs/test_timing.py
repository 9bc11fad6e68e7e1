"""What a run will take is its arithmetic at a timed speed; timing a step changes nothing of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab import RunError, RunFolder, Session, SpecError, plan
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


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a step always takes the same."""
    monkeypatch.setattr(timing, "time_a_step", lambda run, shape: timing.Speed(1e10, 1e10))


@pytest.mark.usefixtures("steady")
def test_a_run_can_be_laid_out_for_a_time() -> None:
    whole = plan(method="ssd_kd")
    short, longer = (plan(method="ssd_kd", minutes=minutes) for minutes in (1, 2))
    assert 4 < short.rounds < longer.rounds < whole.rounds
    assert timing.Speed(1e10, 1e10).seconds(short.composed, SHAPE) * timing.LEFT_OUT <= 60
    assert plan(method="ssd_kd", minutes=10_000).rounds == whole.rounds, "the preset's at most"
    assert plan(method="ssd_kd", minutes=1e-6).rounds == 5, "the student learns in one"
    assert short.spec.minutes == 0
    assert short.composed.rounds == short.rounds, "schedules are laid out for them"


def test_the_same_command_goes_on_with_the_rounds_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"method": "dafl", "minutes": 0.1, "cycles": 2, "batch": 16, "out": str(tmp_path / "run"), "data": "none"}
    monkeypatch.setattr(timing, "time_a_step", lambda run, shape: timing.Speed(1e9, 1e9))
    first = Session(plan(words))
    next(iter(first))
    first.stop()
    del first
    monkeypatch.setattr(timing, "time_a_step", lambda run, shape: timing.Speed(2e9, 2e9))
    again = plan(words)
    assert again.rounds == RunFolder(tmp_path / "run").spec().rounds
    assert any(
        f"rounds = {again.rounds}: " in note and "whatever minutes = 0.1 would be" in note for note in again.notes
    )
    monkeypatch.setattr(timing, "time_a_step", lambda run, shape: timing.Speed(1e12, 1e12))
    with pytest.raises(
        RunError, match=r"holds this run with \d+ rounds, and minutes = 0\.1 would be \d+ now; resume it"
    ):
        plan(words)


def test_rounds_and_minutes_are_one_too_many() -> None:
    with pytest.raises(SpecError, match=r"rounds = 5 and minutes = 2 both say how long the run is; give one"):
        plan(method="dafl", rounds=5, minutes=2)


@pytest.mark.parametrize(
    ("seconds", "words"), [(12, "12 s"), (200, "3 min"), (9000, "2.5 h"), (165_600, "46 h"), (400_000, "5 days")]
)
def test_what_is_ahead_is_said_in_words(seconds: float, words: str) -> None:
    assert timing.sentence(seconds / timing.LEFT_OUT, CPU) == f"about {words} on this CPU, by one timed step"
    assert "this GPU" in timing.sentence(seconds, torch.device("cuda"))
