"""The student of a run that was stopped leaves too: as its checkpoint has it, and called that."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch

from dfkd_lab import RunFolder, Session, SpecError, export, load_student, plan
from dfkd_lab.__main__ import main
from dfkd_lab.export import destination
from dfkd_lab.runs.recorder import saved_state
from tests.support import tiny
from widgets.downloads import Downloads, export_zip
from widgets.exporting import Exporting

pytestmark = pytest.mark.slow


def stopped(out: Path, last: int, evaluate_every: int = 1) -> RunFolder:
    """A run of four rounds, left after ``last``; of which the first is saved, as checkpoints are due at other times."""
    usual = {"rounds": 4, "device": "cpu", "evaluate_every": evaluate_every, "out": str(out)}
    session = Session(plan({**tiny("ssd_kd"), **usual}, method="ssd_kd", checkpoint_s=1000))
    for report in session:
        if report.round == last:
            break
    return session.folder


def zipped(folder: RunFolder) -> str:
    """The folder in the archive that the panel offers."""
    links = Downloads()
    links.attach(folder)
    assert "export.zip" in links.files
    with zipfile.ZipFile(io.BytesIO(export_zip(folder))) as archive:
        (name,) = {Path(each).parts[0] for each in archive.namelist()}
    return name


def test_the_student_of_a_stopped_run_is_that_of_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped(tmp_path / "run", 3)
    state = saved_state(folder)
    assert state is not None
    assert (folder.status()["state"], state["round"]) == ("stopped", 1)
    assert main(["export", str(folder.path), "--to", "safetensors"]) == 0
    assert f"the student after round 1 of 4, as {folder.path} is stopped: making safetensors" in capsys.readouterr().out
    place = folder.path / "export-round1"
    weights = load_student(place).net.state_dict()
    assert all(torch.equal(value, state["student"][f"net.{name}"]) for name, value in weights.items())
    config, card = json.loads((place / "config.json").read_text())["dfkd_lab"], (place / "README.md").read_text()
    assert (config["round"], config["rounds"]) == (1, 4)
    assert "as it was after round 1 of 4, for the run had not finished; exported" in card
    first = folder.reports()[0].accuracy
    assert first is not None
    assert "accuracy after round 1 of 4, on the" in card
    assert f"| {first:.4f} (n = 1 seed) |" in card
    assert "after the last round" not in card


def test_it_is_the_file_that_the_run_would_have_left_then(tmp_path: Path) -> None:
    folder, whole = stopped(tmp_path / "run", 1), stopped(tmp_path / "whole", 1)
    assert destination.latest(folder.path) is None
    early = export.write(folder, "safetensors")
    assert zipped(folder) == "run-round1"
    list(Session(folder.spec()))
    assert zipped(folder) == "run-round1", "until there is a better one"
    late = export.write(folder, "safetensors")
    assert zipped(folder) == "run"
    assert (early.path.name, late.path.name) == ("export-round1", "export")
    assert early.files["model.safetensors"]["sha256"] != late.files["model.safetensors"]["sha256"]
    assert (late.path / "model.safetensors").read_bytes() == (folder.path / "student.safetensors").read_bytes()
    assert "round" not in json.loads((late.path / "config.json").read_text())["dfkd_lab"]
    (folder.path / "student.safetensors").unlink()  # as if it had been killed before it wrote that
    status = json.loads((folder.path / "status.json").read_text())
    (folder.path / "status.json").write_text(json.dumps({**status, "state": "stopped"}))
    again = export.write(folder, "safetensors", tmp_path / "again")
    assert again.files["model.safetensors"]["sha256"] == late.files["model.safetensors"]["sha256"]
    assert export.write(whole, "safetensors").files["model.safetensors"]["sha256"] == early.files[
        "model.safetensors"]["sha256"]  # fmt: skip


def test_a_round_that_was_not_evaluated_has_no_figure(tmp_path: Path) -> None:
    folder = stopped(tmp_path / "run", 1, evaluate_every=4)
    card = (export.write(folder, "safetensors").path / "README.md").read_text()
    assert "The student was not evaluated after that round." in card
    assert "model-index" not in card
    with pytest.raises(SpecError, match=r"neither .* of a finished run; export takes what checkpoint.pt has"):
        load_student(folder.path)


def test_the_button_is_there_once_something_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, shown = stopped(tmp_path / "run", 1), Exporting()
    shown.attach(folder)
    assert shown.widget.layout.display is None
    status = folder.status()
    monkeypatch.setattr(RunFolder, "status", lambda self: {**status, "state": "running"})
    shown.refresh()
    assert shown.widget.layout.display == "none"
    monkeypatch.undo()
    (folder.path / "checkpoint.pt").unlink()
    shown.refresh()
    assert shown.widget.layout.display == "none"
