"""Compiled networks compute what they did, hooks and all, and a run goes on bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd_lab import Session, plan
from dfkd_lab.engine import compilation
from dfkd_lab.engine.loop import Run
from dfkd_lab.errors import RecipeError, SpecError

# torch's own, from inside its tracer
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
MakeRun = Callable[..., Run]


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
@pytest.mark.parametrize("name", ["ssd_kd", "cgdd", "pre_dfkd"])
def test_hooks_meta_updates_and_priorities_are_compiled_whole(make_run: MakeRun, name: str) -> None:
    plain, compiled = (make_run(name, rounds=3, compile=compile) for compile in (False, True))
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for mine, other in zip(plain, compiled, strict=True):
        assert mine.student == pytest.approx(other.student, rel=1e-3, abs=1e-4)
        assert mine.terms == pytest.approx(other.terms, rel=1e-3, abs=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= before + 3


@pytest.mark.usefixtures("traced")
def test_a_compiled_run_goes_on_bit_for_bit(make_run: MakeRun, goes_on: Callable[..., None]) -> None:
    goes_on(lambda: make_run("fast", rounds=3, compile=True), after=1)


def test_machine_code_computes_the_same_student(make_run: MakeRun) -> None:
    compilation.check(True, torch.device("cpu"))
    torch.compiler.reset()
    plain, compiled = (make_run("untrained", rounds=1, s_steps=1, compile=compile) for compile in (False, True))
    for run in (plain, compiled):  # one step: over many, the last bits of two kernels grow apart
        run.advance()
    for mine, other in zip(plain.student.parameters(), compiled.student.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_a_term_that_differentiates_by_maps_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(RecipeError, match=r"'grad_cam' .* a compiled network does not give; allowed: compile = False"):
        make_run("fssc", rounds=3, compile=True)


def test_where_nothing_can_be_compiled_the_run_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler found\nand more")

    compilation.check.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    spec = plan(method="fast", compile=True, out=str(tmp_path / "run"))
    with pytest.raises(SpecError, match=r"compile = True, but .*\(no compiler found\); allowed: False"):
        Session(spec)
    assert not (tmp_path / "run").exists()
    compilation.check.cache_clear()
