"""Widgets without a kernel: every message goes to a comm that nobody reads."""

from collections.abc import Callable
from pathlib import Path

import comm
import pytest
from comm.base_comm import BaseComm

from dfkd_lab import RunFolder, Session, plan


class DummyComm(BaseComm):
    """Says everything to nobody."""

    def publish_msg(self, *args: object, **kwargs: object) -> None:
        """Drop the message."""


@pytest.fixture(autouse=True)
def dummy_comm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "create_comm", DummyComm)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of two tiny rounds; tests only read it."""
    return run_tiny(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[str], RunFolder]:
    """``make_folder(name)``: a finished tiny run of this test's own."""
    return lambda name: run_tiny(tmp_path / "runs" / name)


def run_tiny(path: Path, seed: int = 0) -> RunFolder:
    sizes = {"rounds": 2, "cycles": 2, "batch": 16, "width": 8, "z_dim": 8, "evaluate_every": 1}
    spec = plan(method="dafl", seed=seed, device="cpu", out=str(path), **sizes)
    session = Session(spec)
    list(session)
    return session.folder
