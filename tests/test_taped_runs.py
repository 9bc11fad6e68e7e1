"""Runs whose student steps are played back: the same run, for every method."""

import dataclasses
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from dfkd_lab import Session, loop, plan
from dfkd_lab.loop import Run
from dfkd_lab.methods import METHODS
from dfkd_lab.primitives import tape as tapes
from dfkd_lab.primitives.tape import Recorder, Tape
from dfkd_lab.primitives.terms import needs_of
from dfkd_lab.recipe import RecipeError
from dfkd_lab.report import Report
from dfkd_lab.runs import RunFolder
from dfkd_lab.spec import RunSpec

MakeRun = Callable[..., Run]
UNSURE = {"spaceshipnet"}
"""Methods whose memory chooses in Python what a read does."""


class Recorded(Tape[Any]):
    """A tape that is recorded all the time and never played."""

    def __call__(self, stage: Hashable = 0) -> Any:
        self._sure = False
        return super().__call__(stage)


class Counting(Tape[Any]):
    """A tape that counts the steps it played."""

    count = 0

    def __call__(self, stage: Hashable = 0) -> Any:
        found = super().__call__(stage)
        self.count += self.played
        return found


class Graph:
    """What a CUDA graph does, on a CPU: every replay writes into the tensors that the capture returned."""

    def __init__(self, step: Callable[[], Any], stream: Any):
        with Recorder() as recorder:
            self.found = step()
        program = recorder.program(self.found)
        assert program is not None
        self.program, self.replays = program, 0

    def play(self) -> Any:
        self.replays += 1
        if self.replays > 1:  # the capture, which computes nothing on a GPU, has already done the first
            mine: list[torch.Tensor] = []
            new: list[torch.Tensor] = []
            tapes.mapped(self.found, torch.Tensor, mine.append)
            tapes.mapped(self.program.play(), torch.Tensor, new.append)
            for old, each in zip(mine, new, strict=True):
                if old is not each:
                    old.copy_(each)
        return self.found


class Stream:
    """A stream of a machine that has only one."""

    def __init__(self, device: torch.device):
        pass

    def wait_stream(self, other: "Stream") -> None:
        """Nothing is late."""


def with_tapes(run: Run, kind: Callable[[torch.device], Tape[Any]] | None, device: str = "cpu") -> Run:
    """``run`` with tapes of this kind, and phases that are long enough for them."""
    before = run.recipe.schedule
    run.recipe.schedule = dataclasses.replace(before, s_steps=6, g_steps=6 if before.g_steps > 1 else before.g_steps)
    run.synthesis_tape, run.student_tape = (kind and kind(torch.device(device)) for _ in range(2))
    return run


def tapes_of(run: Run) -> list[Tape[Any] | None]:
    """That of the synthesizer and that of the student."""
    return [run.synthesis_tape, run.student_tape]


def counts(run: Run) -> list[int]:
    """The steps that were played of each kind."""
    return [tape.count for tape in tapes_of(run) if isinstance(tape, Counting)]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter phases than usual are worth a tape."""
    monkeypatch.setattr(loop, "SYNTHESIS_TAPE", 6)


def told(report: Report) -> dict[str, Any]:
    """What a report says, without seconds and bytes."""
    cost = {
        name: value for name, value in vars(report.cost).items() if name in ("s_steps", "teacher_queries", "images")
    }
    parts = ("terms", "student", "health", "alarms", "accuracy", "memory")
    return {name: getattr(report, name) for name in parts} | cost


def same(left: Run, right: Run) -> None:
    """Both runs report the same and end with the same student."""
    samples = []
    for mine, other in zip(left, right, strict=True):
        assert told(mine) == told(other)
        samples.append((mine.samples.images, mine.samples.images.clone(), other.samples.images))
    for mine, then, other in samples:  # nothing later wrote into what was reported
        assert torch.equal(mine, other)
        assert torch.equal(mine, then)
    for mine, other in zip(left.student.state_dict().values(), right.student.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("name", METHODS)
def test_played_steps_are_the_recorded_ones(make_run: MakeRun, name: str) -> None:
    run = with_tapes(make_run(name, rounds=3), Counting)
    same(run, with_tapes(make_run(name, rounds=3), Recorded))
    synthesis, student = counts(run)
    assert bool(synthesis) == (run.recipe.schedule.g_steps > 1)
    assert bool(student) == (name not in UNSURE)


@pytest.mark.parametrize("name", ["ssd_kd", "pre_dfkd", "cgdd", "mad", "mb_dfkd", "zskt", "cmi", "deepinversion"])
def test_a_graph_that_writes_over_what_it_returned_leaves_the_run_the_same(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(tapes, "Graph", Graph)
    for name_, there in (("Stream", Stream), ("stream", nullcontext), ("current_stream", Stream)):
        monkeypatch.setattr(torch.cuda, name_, there)
    run = with_tapes(make_run(name, rounds=3), Counting, "cuda")
    same(run, with_tapes(make_run(name, rounds=3), Recorded))
    assert any(counts(run))


@pytest.mark.parametrize("name", ["ssd_kd", "cgdd", "pre_dfkd"])
def test_a_tape_changes_no_more_than_last_bits(make_run: MakeRun, name: str) -> None:
    taped, plain = with_tapes(make_run(name, rounds=2), Tape), with_tapes(make_run(name, rounds=2), None)
    for mine, other in zip(taped, plain, strict=True):
        assert mine.student == pytest.approx(other.student, rel=1e-2)
        assert mine.cost.teacher_queries == other.cost.teacher_queries


@pytest.mark.parametrize("how", [{"precision": "bf16"}, {"cache_views": 2}], ids=str)
def test_in_half_precision_and_with_kept_views(make_run: MakeRun, how: dict[str, Any]) -> None:
    run = with_tapes(make_run("ssd_kd", rounds=3, **how), Counting)
    same(run, with_tapes(make_run("ssd_kd", rounds=3, **how), Recorded))
    assert all(counts(run))


@pytest.mark.parametrize("name", ["ssd_kd", "zskt", "pre_dfkd"])
def test_a_taped_run_goes_on_bit_for_bit(make_run: MakeRun, goes_on: Callable[..., None], name: str) -> None:
    goes_on(lambda: with_tapes(make_run(name, rounds=4), Tape), after=2)


def changed(run: Run, change: Callable[[Any, Any], Any]) -> Run:
    """``run`` with ``change(run, value)`` in place of the value of its student's term."""
    kd = run.recipe.student["kd"]
    term: Any = lambda seen: change(run, kd.term(seen))  # noqa: E731
    term.needs = needs_of(kd.term)
    run.recipe.student["kd"] = dataclasses.replace(kd, term=term)
    return run


def test_what_a_term_does_by_a_number_of_its_own_is_followed_from_phase_to_phase(make_run: MakeRun) -> None:
    falling = lambda run, value: value / (1 + run.round)  # noqa: E731  # as a temperature may
    run, other = (changed(with_tapes(make_run("fast", rounds=4), kind), falling) for kind in (Counting, Recorded))
    same(run, other)
    assert all(counts(run))


def test_a_term_that_keeps_a_tensor_for_later_is_not_played(make_run: MakeRun) -> None:
    def keeping(run: Any, value: Any) -> Any:
        run.kept = value.detach() * 2
        return value

    run = changed(with_tapes(make_run("fast", rounds=4), Counting), keeping)
    for _ in run:
        pass
    synthesis, student = counts(run)
    assert synthesis
    assert not student


def test_a_memory_that_says_nothing_of_its_stage_is_not_recorded(make_run: MakeRun) -> None:
    run = with_tapes(make_run("fast", rounds=2), Counting)
    run.recipe.memory.stage = None  # type: ignore[misc]
    for _ in run:
        pass
    assert run.student_tape is not None
    assert run.student_tape._program is None


def test_short_phases_are_not_recorded(make_run: MakeRun) -> None:
    run = make_run("fast", rounds=2, tape=True)
    assert run.recipe.schedule.s_steps == 3
    for _ in run:
        pass
    assert [tape is not None and tape._program is None for tape in tapes_of(run)] == [True, True]


def test_the_setting_reaches_the_run(make_spec: Callable[..., RunSpec]) -> None:
    session = Session(make_spec("fast", rounds=3, tape=True, settings={"s_steps": 6}))
    assert all(type(tape) is Tape for tape in tapes_of(session.run))
    for _ in session:
        pass
    assert RunFolder(session.spec.out).status()["state"] == "finished"
    assert session.run.student_tape is not None
    assert session.run.student_tape._program is not None


def test_what_is_compiled_has_no_tape(make_run: MakeRun, tmp_path: Any) -> None:
    with pytest.raises(RecipeError, match=r"tape = True and compile = True.*choose one"):
        make_run("fast", tape=True, compile=True)
    with pytest.raises(RecipeError, match="choose one"):
        Session(plan(method="fast", tape=True, compile=True, out=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()
