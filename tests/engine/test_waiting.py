"""No step makes the host wait for the device; once a round is allowed. Seen on a CPU, by the operators called."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dfkd_lab.engine.loop import Run
from dfkd_lab.methods import METHODS
from dfkd_lab.primitives.losses import needs, needs_of
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.system.rng import host_rand
from tests.support import WAITING

pytestmark = pytest.mark.slow

MakeRun = Callable[..., Run]
OPTIMIZERS = str(Path(torch.optim.__file__).parent)


class Waits(TorchDispatchMode):
    """Counts operators that wait, except for ``kept``, which is on the CPU wherever the run is."""

    def __init__(self, kept: torch.Tensor | None):
        super().__init__()
        self.kept, self.found = kept, Counter[str]()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operator.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(each, torch.Tensor) and each.dtype in (torch.bool, torch.uint8)
            for each in (args[1] if isinstance(args[1], (list, tuple)) else [])
        )
        if (name in WAITING or by_mask) and args[0] is not self.kept and not on_the_cpu_by_design():
            self.found[name] += 1
        return operator(*args, **(kwargs or {}))


def on_the_cpu_by_design() -> bool:
    """Whether an optimizer of torch, which counts its steps on the CPU, or a draw to steer Python by, is asking."""
    frame = sys._getframe(2)
    while frame := frame.f_back:
        if frame.f_code is host_rand.__code__ or frame.f_code.co_filename.startswith(OPTIMIZERS):
            return True
    return False


def waits(run: Run, times: int) -> Counter[str]:
    """What waits in a round of ``times`` as many steps of each kind, in as many more turns."""
    before = run.recipe.schedule
    more = {name: times * getattr(before, name) for name in ("g_steps", "s_steps", "cycles")}
    run.recipe.schedule = dataclasses.replace(before, **more)
    with Waits(getattr(run.recipe.synthesizer, "phases", None)) as counted:
        run.advance()
    run.recipe.schedule = before
    return counted.found


@pytest.fixture(params=METHODS)
def run(request: pytest.FixtureRequest, make_run: MakeRun) -> Run:
    made = make_run(request.param, rounds=4)
    made.evaluate = None
    made.recipe.schedule = dataclasses.replace(made.recipe.schedule, s_steps=1, cycles=1, warm_up=0)
    made.advance()  # the first round makes what others find
    return made


def test_more_steps_wait_no_more_often(run: Run) -> None:
    assert waits(run, 1) == waits(run, 2)


@pytest.mark.parametrize(
    ("look", "name"),
    [
        (lambda seen: None, ""),
        (lambda seen: float(seen.logits.sum()), "_local_scalar_dense"),
        (lambda seen: seen.logits.argmax(1).bincount(), "bincount"),
        (lambda seen: seen.logits[seen.logits > 0], "index"),
        (lambda seen: torch.tensor([1.0, 2.0]), "lift_fresh"),
        (lambda seen: seen.logits.nonzero(), "nonzero"),
        (lambda seen: 1 if seen.logits.sum() > 0 else 2, "_local_scalar_dense"),
    ],
)
def test_a_term_that_waits_is_found(make_run: MakeRun, look: Callable[[Observation], object], name: str) -> None:
    run = make_run("dafl", rounds=4)
    kd = run.recipe.student_losses["kd"]
    looking = needs(*needs_of(kd.loss))(lambda seen: (look(seen), kd.loss(seen))[1])
    run.recipe.student_losses["kd"] = dataclasses.replace(kd, loss=looking)
    run.advance()
    more = waits(run, 2) - waits(run, 1)
    assert list(more) == ([name] if name else [])
