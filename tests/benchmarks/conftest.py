"""What the tests of benchmarks share: results of their own, and runs in this process, which starts in no time."""

import subprocess
import sys
from pathlib import Path

import pytest
import results_page
import rows

from dfkd_lab import RunFolder, Session
from dfkd_lab.sweeps.launchers import LAUNCHERS
from tests.support import ROOT


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of results, which the pages are rendered beside."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(rows, "FOLDER", folder)
    monkeypatch.setattr(results_page, "TEACHERS", folder / "teachers.json")
    monkeypatch.setattr(results_page, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    return folder


class InProcess:
    """A launcher that runs one after the other here, and is interrupted after a round as often as it is told."""

    jobs = 1

    def __init__(self) -> None:
        self.interrupts, self.started = 0, list[str]()

    def start(self, folder: RunFolder, place: int) -> RunFolder:
        self.started.append(folder.name)
        session = Session(folder.spec())
        for _ in session:
            if self.interrupts:
                session.stop()
        return folder

    def poll(self, unit: RunFolder) -> int:
        if unit.status()["state"] != "finished" and self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        return 0 if unit.status()["state"] == "finished" else 75

    def stop(self, unit: RunFolder) -> None:
        """It has stopped by itself."""


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page about a sweep takes seconds, and tests/sweeps has it drawn."""
    monkeypatch.setattr(
        "dfkd_lab.cli.sweep.drawing",
        lambda path, to=subprocess.DEVNULL: subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=to),
    )


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch, undrawn: None) -> InProcess:
    """In the place of processes."""
    found = InProcess()
    monkeypatch.setitem(LAUNCHERS, "local", lambda jobs: found)
    return found
