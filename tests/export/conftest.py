"""Finished runs that tests only read, and copies of them that tests may spoil."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dfkd_lab import RunFolder, export
from dfkd_lab.export import Exported
from tests.support import finished


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on digits whose memory keeps images."""
    return finished(tmp_path_factory.mktemp("export") / "kept")


@pytest.fixture(scope="session")
def exported(kept: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """All formats of it."""
    return export.write(kept, export.FORMATS, tmp_path_factory.mktemp("export") / "all", accept=True)


@pytest.fixture
def mine(kept: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(shutil.copytree(kept.path, tmp_path / "mine"))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., RunFolder]:
    """``make(name, method, ...)``: a finished tiny run of this test's own."""
    return lambda name, *method, **more: finished(tmp_path / name, *method, **more)
