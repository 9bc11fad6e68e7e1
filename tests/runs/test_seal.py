"""A method that reads real data fails its run and cannot be called data-free."""

import contextlib
import dataclasses
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dfkd_lab import methods
from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.errors import RunError
from dfkd_lab.methods.dafl import DAFL
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.seal import Seal, SealBroken
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec

MakeSpec = Callable[..., RunSpec]
OPENED = "the distillation opened .*, which belongs to a data set; a data-free run must not"
STARTED = "the distillation started a process, which could read data unseen; a data-free run must not"


def reads_digits() -> None:
    from sklearn.datasets import load_digits

    load_digits()


def reads_an_array() -> None:
    np.load("real.npy")


def reads_an_image_by_its_descriptor() -> None:
    os.close(os.open("real.png", os.O_RDONLY))


def reads_and_hides_it() -> None:
    with contextlib.suppress(Exception):
        np.load("real.npy")


def reads_and_dresses_it_up() -> None:
    try:
        np.load("real.npy")
    except Exception:
        raise ValueError("something else") from None


def starts_a_process() -> None:
    subprocess.run([sys.executable, "-c", "open('real.npy')"], check=False)


def starts_a_shell() -> None:
    os.system("cat real.npy")


def starts_a_worker() -> None:
    worker = multiprocessing.get_context("spawn").Process(target=reads_an_array)
    worker.start()
    worker.join()


CHEATS = [
    (reads_digits, OPENED),
    (reads_an_array, OPENED),
    (reads_an_image_by_its_descriptor, OPENED),
    (reads_and_hides_it, OPENED),
    (reads_and_dresses_it_up, OPENED),
    (starts_a_process, STARTED),
    (starts_a_shell, STARTED),
    (starts_a_worker, STARTED),
]


def cheating(cheat: Callable[[], object], when: str) -> type[Any]:
    """DAFL that cheats while it composes, or in a term."""

    def term(seen: Observation) -> Tensor:
        cheat()
        return seen.logits.sum(1)

    @dataclasses.dataclass(frozen=True)
    class Cheat(DAFL):
        def compose(self, context: MethodContext) -> Recipe:
            if when == "composing":
                cheat()
            recipe = super().compose(context)
            if when == "a term":
                recipe.losses["cheat"] = WeightedLoss(0.001, term)
            return recipe

    return Cheat


@pytest.fixture
def real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("real.npy", np.zeros(3))
    Path("real.png").write_bytes(b"")


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("when", ["composing", "a term"])
@pytest.mark.parametrize(("cheat", "sentence"), CHEATS, ids=lambda each: getattr(each, "__name__", ""))
def test_cheating_fails_the_run_and_the_record_says_so(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, cheat: Any, sentence: str, when: str
) -> None:
    spec = make_spec()
    monkeypatch.setitem(methods.METHODS, "dafl", cheating(cheat, when))
    with pytest.raises(RunError, match=sentence):
        list(Session(spec))
    if when == "composing":  # nothing has begun
        assert not Path(spec.out).exists()
        return
    seal = RunFolder(spec.out).seal()
    assert seal["data_free"] is False
    assert seal["sessions"][0]["violations"]
    assert not (Path(spec.out) / "student.safetensors").exists()


@pytest.mark.usefixtures("real_data")
def test_a_later_honest_session_does_not_wash_the_record(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec()
    with monkeypatch.context() as patch:
        patch.setitem(methods.METHODS, "dafl", cheating(reads_an_array, "a term"))
        with pytest.raises(RunError, match=OPENED):
            list(Session(spec))
    list(Session(spec))
    assert RunFolder(spec.out).seal()["data_free"] is False


def test_an_honest_run_is_data_free_and_names_what_it_knew(make_spec: MakeSpec) -> None:
    spec = make_spec()
    list(Session(spec))
    seal = RunFolder(spec.out).seal()
    assert seal["data_free"] is True
    assert seal["evaluation_set"] == "digits"
    assert len(seal["teacher_file"]["sha256"]) == 64
    assert seal["sessions"][0]["sealed_rounds"] == spec.rounds
    assert seal["sessions"][0]["violations"] == []


@pytest.mark.usefixtures("real_data")
def test_between_rounds_the_seal_is_open(make_spec: MakeSpec) -> None:
    for _ in Session(make_spec()):
        np.load("real.npy")
        assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0
    assert RunFolder(make_spec().out).seal()["data_free"] is True


def test_the_runs_own_files_may_be_read_while_it_is_sealed(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    own = Path(spec.out) / "own.npy"
    monkeypatch.setitem(methods.METHODS, "dafl", cheating(lambda: np.load(own) is None, "a term"))
    session = Session(spec)
    np.save(own, np.zeros(2))
    list(session)
    assert RunFolder(spec.out).seal()["data_free"] is True


def test_the_environment_variable_names_a_folder_of_data(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "data" / "anything.at.all"
    secret.parent.mkdir()
    torch.save(torch.zeros(2), secret)
    monkeypatch.setenv("DFKD_DATA", str(secret.parent))
    monkeypatch.setitem(methods.METHODS, "dafl", cheating(lambda: torch.load(secret) is None, "a term"))
    with pytest.raises(RunError, match=OPENED):
        list(Session(make_spec()))


def test_code_may_be_called_like_a_data_set(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar_helpers.py").write_text("")
    monkeypatch.setitem(
        methods.METHODS, "dafl", cheating(lambda: (tmp_path / "cifar_helpers.py").read_text(), "a term")
    )
    list(Session(spec := make_spec()))
    assert RunFolder(spec.out).seal()["data_free"] is True


def test_while_a_method_composes_another_thread_may_read_and_start_what_it_likes(tmp_path: Path) -> None:
    file = tmp_path / "digits.npy"
    seen: list[Any] = []
    file.write_bytes(b"")
    seal = Seal()

    def elsewhere() -> None:
        seen.append(file.read_bytes())
        seen.append(subprocess.run([sys.executable, "-c", ""], check=False).returncode)

    with seal.of_this_thread():
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
    assert seen == [b"", 0]
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.of_this_thread():
        file.read_bytes()
