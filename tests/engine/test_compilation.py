"""Compiled networks compute what they did, hooks and all, and a run goes on bit for bit.

The machine code that a compiler of C++ makes of them is compared in tests/runs/test_compiled_runs.py.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd_lab import Session, plan
from dfkd_lab.engine import compilation
from dfkd_lab.engine.loop import Run
from dfkd_lab.errors import SpecError
from dfkd_lab.methods import METHODS

# torch's own, from inside its tracer
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
MakeRun = Callable[..., Run]
KINDS = ("cmi", "deepinversion", "dfad", "kd", "mad", "mb_dfkd", "noise", "pre_dfkd", "spaceshipnet", "ssd_kd")
"""Methods of every kind of synthesizer and memory."""


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile as far as the graphs of both ways, which takes no compiler, and refuse a graph with a hole."""
    torch.compiler.reset()
    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", partial_method(compile, backend="aot_eager", fullgraph=True))


def partial_method(method: Callable[..., None], **more: Any) -> Callable[..., None]:
    """``method`` with other named arguments."""
    return lambda self, **named: method(self, **{**named, **more})


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", ["ssd_kd", "pre_dfkd", pytest.param("cgdd", marks=pytest.mark.long)])
def test_hooks_meta_updates_and_priorities_are_compiled_whole(make_run: MakeRun, name: str) -> None:
    plain, compiled = (make_run(name, rounds=3, compile=compile) for compile in (False, True))
    if name == "pre_dfkd":  # of its networks, the others have no memory's
        owners = (
            compiled.teacher,
            compiled.observer.folded_teacher,
            compiled.student,
            compiled.recipe.modules()["synthesizer"],
        )
        for part in (part for owner in owners for part in owner.modules()):
            part._compiled_call_impl = None
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compiled.rehearse()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs >= before + 3
    for mine, other in zip(plain, compiled, strict=True):
        assert mine.student == pytest.approx(other.student, rel=1e-3, abs=1e-4)
        assert mine.terms == pytest.approx(other.terms, rel=1e-3, abs=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs, "after the rehearsal nothing more is"


@pytest.mark.usefixtures("traced")
def test_a_compiled_run_goes_on_bit_for_bit(make_run: MakeRun, goes_on: Callable[..., None]) -> None:
    goes_on(lambda: make_run("fast", rounds=3, compile=True), after=1)


@pytest.mark.usefixtures("traced")
def test_a_loss_that_differentiates_by_maps_leaves_the_classifiers_as_they_are(make_run: MakeRun) -> None:
    run = make_run("fssc", rounds=3, compile=True)
    reason = "'grad_cam' differentiates by the feature maps inside, which a compiled network does not give"
    assert run.compiled["teacher"] == run.compiled["student"] == reason
    assert run.compiled["synthesizer.net"] == compilation.COMPILED
    for _ in run:
        pass


def test_what_is_compiled_is_the_networks_and_no_more(make_run: MakeRun) -> None:
    networks = {"teacher", "student", "folded teacher", "synthesizer.net", "memory.decoder", "memory.encoder"}
    assert set(make_run("pre_dfkd", compile=True).compiled) == networks
    assert make_run("pre_dfkd").compiled == {}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in KINDS else pytest.mark.long) for each in METHODS]
)
def test_a_rehearsal_takes_every_kind_of_step_and_changes_no_bit(make_run: MakeRun, name: str) -> None:
    plain, rehearsed = make_run(name, rounds=3), make_run(name, rounds=3)
    rehearsed.rehearse()
    for mine, other in zip(plain, rehearsed, strict=True):
        assert (mine.terms, mine.student, mine.memory) == (other.terms, other.student, other.memory)
        assert (mine.cost.images, mine.cost.teacher_queries) == (other.cost.images, other.cost.teacher_queries)
    pairs = zip(plain.student.parameters(), rehearsed.student.parameters(), strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs)


@pytest.mark.long  # in every run of the tests two of them are where hooks are compiled
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", METHODS)
def test_after_the_rehearsal_nothing_more_is_compiled(make_run: MakeRun, name: str) -> None:
    run = make_run(name, rounds=3, compile=True)
    run.rehearse()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs > 0
    for _ in run:
        pass
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


@pytest.mark.parametrize(("compile", "device", "steps", "wanted"), [
    ("yes", "cpu", 1, True), ("auto", "cpu", math.inf, False), ("no", "cuda", math.inf, False),
    ("auto", "cuda", compilation.FEWEST_STEPS, True), ("auto", "cuda", compilation.FEWEST_STEPS - 1, False),
])  # fmt: skip
def test_auto_compiles_long_runs_on_a_gpu(compile: str, device: str, steps: float, wanted: bool) -> None:
    assert compilation.is_wanted(compile, torch.device(device), steps) == wanted


def test_a_session_counts_the_steps_of_both_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    asked: list[float] = []
    monkeypatch.setattr(compilation, "is_wanted", lambda compile, device, steps: asked.append(steps))
    settings = {"cycles": 3, "s_steps": 5}
    Session(plan(method="dfad", rounds=4, settings=settings, out=str(tmp_path / "run")).spec)
    assert asked == [4 * 3 * (1 + 5)]


def test_where_nothing_can_be_compiled_the_run_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler found\nand more")

    compilation.check.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    spec = plan(method="fast", compile=True, out=str(tmp_path / "run"))
    with pytest.raises(SpecError, match=r"compile = yes, but .*\(no compiler found\); allowed: no"):
        Session(spec)
    assert not (tmp_path / "run").exists()
    compilation.check.cache_clear()


def test_a_reason_is_the_first_line_that_tells_something() -> None:
    assert compilation.reason(RuntimeError("backend='inductor' raised:\nInvalidCxxCompiler: no g++\n\nSet more")) == (
        "InvalidCxxCompiler: no g++"
    )
    assert compilation.reason(KeyError()) == "KeyError"
