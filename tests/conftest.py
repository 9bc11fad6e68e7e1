"""What the tests share: a digits teacher trained once, and runs small enough to repeat many times."""

import json
import os
import signal
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
# One thread: twice as many would spin against whatever else runs on two cores, and gain little at these sizes. In the
# processes that tests start too: their results are compared, and on some CPUs more threads have other last bits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from dfkd_lab import data, methods, nets, runs, teachers
from dfkd_lab.data import registry
from dfkd_lab.engine import metrics
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.methods import composition
from dfkd_lab.nets import python_file
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import RunSpec
from dfkd_lab.system import environment
from tests import support

FEW = 60
"""Of the 450 held-out digits: to measure a tiny run on all of them would take as long as its round."""


@pytest.fixture(scope="session", autouse=True)
def digits_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep trained teachers in $DFKD_CACHE if it is set, so that the next session finds them, else for this session."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as monkeypatch:
        if not os.environ.get("DFKD_CACHE"):
            monkeypatch.setenv("DFKD_CACHE", str((base.parent if WORKER else base) / "cache"))
        yield environment.cache()


@pytest.fixture(autouse=True)
def handlers_stay() -> Iterator[None]:
    """No test leaves a signal to somebody who is gone."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    left = signal.signal(signal.SIGTERM, before)
    assert left == before


@pytest.fixture(scope="session")
def scenes_teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained U-Net with a card: what it says is nothing, and it says it everywhere alike."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(nets.classifier("unet_8", 1, 11), (0.3,), (0.3,))
    file = tmp_path_factory.mktemp("dense") / "unet.safetensors"
    card = teachers.Card("unet_8", 11, (1, 32, 32), (0.3,), (0.3,), "scenes", task="segmentation")
    teachers.save(model, card, file)
    return str(file)


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    """Networks, methods, fillings, data sets and Python files that a test makes known end with it."""
    tables: tuple[dict[Any, Any], ...]
    tables = (nets.CLASSIFIERS, methods.METHODS, registry.ROWS, python_file.TRUSTED, *composition.FILLINGS.values())
    with ExitStack() as stack:
        for table in tables:
            stack.enter_context(patch.dict(table))
        yield


@pytest.fixture
def ambient() -> Iterator[Callable[[int], None]]:
    """``ambient(seed)`` reseeds torch's global random numbers, which no run may depend on."""

    def reseed(seed: int) -> None:
        torch.manual_seed(seed)

    before = torch.get_rng_state()
    yield reseed
    torch.set_rng_state(before)


@pytest.fixture(scope="session")
def held_out() -> data.Split:
    """The digits no teacher was trained on."""
    split = data.evaluation_set("digits")
    assert split is not None
    return split


@pytest.fixture
def teacher() -> teachers.Teacher:
    """The digits teacher, read anew, so that no test sees another's hooks."""
    return teachers.load("digits")


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], dict[str, Any]]:
    """``tiny(method)``: settings of that method with which a round takes well under a second."""
    return support.tiny


@cache
def _settled(class_: Hashable, method: str, preset: str, rounds: int, settings: str) -> RunSpec:
    """The spec of a tiny run, which reads the teacher; ``class_`` is what ``method`` names now."""
    return settled({"method": method, "preset": preset or "digits", "rounds": rounds, "settings": json.loads(settings)})


@pytest.fixture(scope="session")
def composed_run(tiny: Callable[[str], dict[str, Any]]) -> Callable[..., ComposedRun]:
    """``composed_run(method, rounds=2, ...)``: what :func:`make_run` makes a run of."""

    def make(method: str, rounds: int = 2, seed: int = 0, preset: str = "", **settings: Any) -> ComposedRun:
        how = {name: settings.pop(name) for name in ("precision", "cache_views") if name in settings}
        given = settings if preset else {**tiny(method), **settings}
        class_, teacher = methods.find(method), teachers.load("digits")
        composed = ComposedRun.of(
            class_(**_settled(cast(Hashable, class_), method, preset, rounds, json.dumps(given)).settings),
            teacher.model,
            lambda: teachers.student_of(teacher.card, "convnet_8"),
            shape=teacher.card.shape,
            classes=teacher.card.classes,
            rounds=rounds,
            seed=seed,
            **how,
        )
        if methods.remark(class_):
            real = data.training_set("digits")
            composed.give_real_images(real.images, real.labels)
        return composed

    return make


@pytest.fixture(scope="session")
def make_run(composed_run: Callable[..., ComposedRun], held_out: data.Split) -> Callable[..., Run]:
    """``make_run(method, rounds=2, ...)``: a tiny run on the digits teacher; settings by name, or all from a preset.

    ``precision``, ``cache_views`` and ``compile`` are the run's. It is measured on ``FEW`` held-out images.
    """

    def make(method: str, rounds: int = 2, compile: bool = False, **more: Any) -> Run:
        evaluate = metrics.Accuracy(held_out.images[:FEW], held_out.labels[:FEW])
        return Run(composed_run(method, rounds, **more), evaluate=evaluate, compile=compile)

    return make


@pytest.fixture(scope="session")
def goes_on() -> Callable[..., None]:
    """``goes_on(make, after)``: a run that is stopped after so many rounds, and resumed, ends as one that never was."""

    def check(make: Callable[[], Run], after: int) -> None:
        whole, first, second = (make() for _ in range(3))
        for _ in whole:
            pass
        for _ in range(after):
            first.advance()
        second.load_state_dict(first.state_dict())
        for _ in second:
            pass
        for mine, other in zip(whole.student.parameters(), second.student.parameters(), strict=True):
            assert torch.equal(mine, other)

    return check


@pytest.fixture
def make_spec(tiny: Callable[[str], dict[str, Any]], tmp_path: Path) -> Callable[..., RunSpec]:
    """``make_spec(method="dafl", ...)``: the spec of a tiny run in a folder below ``tmp_path``."""

    def make(method: str = "dafl", out: str = "run", rounds: int = 2, **more: Any) -> RunSpec:
        given = {**tiny(method), **more.pop("settings", {})}
        usual = {"out": str(tmp_path / out), "device": "cpu", "evaluate_every": 1}
        return runs.plan(method=method, rounds=rounds, settings=given, **{**usual, **more}).spec

    return make
