"""Compiled networks compute what they did, hooks and all, and a run goes on bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dfkd_lab import Session, machine, methods, plan, teachers
from dfkd_lab.loop import Run
from dfkd_lab.recipe import RecipeError
from dfkd_lab.spec import SpecError, build

# torch's own, from inside its tracer
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
Tiny = Callable[[str], dict[str, Any]]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile as far as the graphs of both ways, which takes no compiler, and refuse a graph with a hole."""
    torch.compiler.reset()
    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", partial_method(compile, backend="aot_eager", fullgraph=True))


def partial_method(method: Callable[..., None], **more: Any) -> Callable[..., None]:
    """``method`` with other named arguments."""
    return lambda self, **named: method(self, **{**named, **more})


def run_of(name: str, settings: dict[str, Any], compile: bool) -> Run:
    teacher = teachers.load("digits")
    return Run(
        build(methods.find(name), settings),
        teacher.model,
        lambda: teachers.student_of(teacher.card, "convnet_8"),
        shape=teacher.card.shape,
        classes=10,
        rounds=3,
        seed=0,
        compile=compile,
    )


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", ["ssd_kd", "cgdd", "pre_dfkd"])
def test_hooks_meta_updates_and_priorities_are_compiled_whole(tiny: Tiny, name: str) -> None:
    plain, compiled = (run_of(name, tiny(name), compile) for compile in (False, True))
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for mine, other in zip(plain, compiled, strict=True):
        assert mine.student == pytest.approx(other.student, rel=1e-3, abs=1e-4)
        assert mine.terms == pytest.approx(other.terms, rel=1e-3, abs=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= before + 3


@pytest.mark.usefixtures("traced")
def test_a_compiled_run_goes_on_bit_for_bit(tiny: Tiny) -> None:
    whole, first, second = (run_of("fast", tiny("fast"), True) for _ in range(3))
    for _ in whole:
        pass
    first.advance()
    second.load_state_dict(first.state_dict())
    for _ in second:
        pass
    for mine, other in zip(whole.student.parameters(), second.student.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_machine_code_computes_the_same_student(tiny: Tiny) -> None:
    machine.check_compiler(True, torch.device("cpu"))
    torch.compiler.reset()
    plain, compiled = (run_of("untrained", tiny("untrained"), compile) for compile in (False, True))
    for run in (plain, compiled):
        run.advance()
    for mine, other in zip(plain.student.parameters(), compiled.student.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_a_term_that_differentiates_by_maps_is_refused(tiny: Tiny) -> None:
    with pytest.raises(RecipeError, match=r"'grad_cam' .* a compiled network does not give; allowed: compile = False"):
        run_of("fssc", tiny("fssc"), True)


def test_where_nothing_can_be_compiled_the_run_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler found\nand more")

    machine.check_compiler.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    spec = plan(method="fast", compile=True, out=str(tmp_path / "run"))
    with pytest.raises(SpecError, match=r"compile = True, but .*\(no compiler found\); allowed: False"):
        Session(spec)
    assert not (tmp_path / "run").exists()
    machine.check_compiler.cache_clear()
