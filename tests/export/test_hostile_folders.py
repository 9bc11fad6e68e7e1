"""Folders from somebody else: nothing in their names or files is executed, believed or written through."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dfkd_lab import RunFolder, SpecError, export, load_student
from dfkd_lab.errors import DamagedFile
from dfkd_lab.export import Exported
from widgets.downloads import export_zip

NET = "from torch import nn\nopen({!r}, 'w')\ndef Net(channels, classes):\n    return nn.Flatten()\n"


def test_the_name_of_a_folder_is_no_code(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text(NET.format("executed"))
    folder = Path("evil.py:Net@v1")
    shutil.copytree(exported.path, folder)
    assert load_student(folder)(torch.zeros(2, 1, 16, 16)).shape == (2, 10)
    assert not Path("executed").exists()


def test_an_at_in_a_path_is_a_letter_like_any(mine: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(mine.path.rename(tmp_path / "me@home"))
    written = export.write(folder, "safetensors", tmp_path / "o@ut")
    assert list(written.files) == ["model.safetensors"]
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(load_student(folder.path)(images), load_student(written.path)(images))


@pytest.mark.parametrize(("name", "value"), [("mean", [0.9053]), ("shape", [1, 16, 96]), ("classes", 9)])
def test_a_card_that_is_not_as_the_run_recorded_it_is_refused(name: str, value: Any, mine: RunFolder) -> None:
    file = mine.path / "student.safetensors"
    with safe_open(file, "pt") as opened:
        card = json.loads(opened.metadata()["dfkd_lab"])
    save_file(load_file(file), file, {"dfkd_lab": json.dumps({**card, name: value})})
    with pytest.raises((DamagedFile, SpecError), match=rf"student.safetensors.*{name}|student.safetensors"):
        export.write(mine, "safetensors")
    assert not (mine.path / "export").exists()


@pytest.mark.parametrize("name", ["manifest.json", "seal.json"])
def test_what_the_card_repeats_is_as_the_run_wrote_it(name: str, mine: RunFolder) -> None:
    file = mine.path / name
    file.write_text(file.read_text().replace("digits", "miracle").replace("files", "everything"))
    with pytest.raises(DamagedFile, match=f"{name} is damaged"):
        export.write(mine, "safetensors")


def test_only_files_that_an_export_writes_are_believed_and_no_link_is_followed(mine: RunFolder, tmp_path: Path) -> None:
    written = export.write(mine, "safetensors", tmp_path / "out")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    parity = json.loads((written.path / "parity.json").read_text())
    row = {"what": "a file", "sha256": hashlib.sha256(b"mine").hexdigest(), "bytes": 4}
    parity["files"] |= {str(victim): row, "../victim": row, 'x.onnx"); import os; ("y.onnx': {"what": "a folder"}}
    (written.path / 'x.onnx"); import os; ("y.onnx').mkdir()
    (written.path / "parity.json").write_text(json.dumps(parity))
    for name in (".lock", "config.json.tmp", "README.md.tmp", "model.safetensors.unproven.tmp"):
        (written.path / name).symlink_to(victim)
    (tmp_path / "elsewhere").mkdir()
    (written.path / "images.unproven").symlink_to(tmp_path / "elsewhere")
    again = export.write(mine, "safetensors,images", written.path)
    assert set(again.files) == {"model.safetensors", "images"}
    assert "import os" not in (written.path / "README.md").read_text()
    assert victim.read_text() == "mine"
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (written.path / "images").is_symlink()


def test_the_zip_has_what_was_proven(mine: RunFolder, tmp_path: Path) -> None:
    written = export.write(mine, "safetensors")
    (tmp_path / "secret").write_text("secret")
    (written.path / "link").symlink_to(tmp_path / "secret")
    (written.path / "model.onnx.unproven").write_text("half")
    for name in ("model.onnx", "secret.py", "model.pt2.before"):
        (written.path / name).write_text("nobody proved")
    text = export_zip(mine)
    assert b"model.safetensors" in text
    assert b"/link" not in text
    assert not any(name in text for name in (b"unproven", b"model.onnx", b"secret.py", b".before"))
    (written.path / "parity.json").write_text("{")
    assert b"model.safetensors" not in export_zip(mine)


def test_the_folder_one_is_in_has_a_name(mine: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.path)
    written = export.write(".", "safetensors")
    assert (written.path / "README.md").read_text().count("# mine\n") == 1


@pytest.mark.parametrize(
    "change", [{"passed": False}, {"relative_difference": "small"}, {"same_class": None}, {"size_step": []}]
)
def test_a_row_that_proves_nothing_is_not_believed(change: dict[str, Any], mine: RunFolder) -> None:
    out = export.write(mine, "safetensors").path
    found = json.loads((out / "parity.json").read_text())
    found["files"]["model.safetensors"] |= change
    (out / "parity.json").write_text(json.dumps(found))
    assert list(export.write(mine, "images").files) == ["images"]
    for name, value in (("bytes", "many"), ("sha256", 7)):
        (out / "parity.json").write_text(json.dumps({"files": {"model.safetensors": {"what": "", name: value}}}))
        with pytest.raises(DamagedFile, match=rf"parity.json is damaged \(files.model.safetensors.{name} is"):
            export.write(mine, "images")


@pytest.mark.parametrize(
    ("where", "value"),
    [("method", {"replaced": []}), ("evaluation", {}), ("teacher", {"net": []}), ("sessions", [{"commit": 3}])],
)
def test_a_manifest_of_another_shape_is_a_sentence(where: str, value: Any, mine: RunFolder) -> None:
    found = json.loads((mine.path / "manifest.json").read_text())
    (mine.path / "manifest.json").write_text(json.dumps({**found, where: value}))
    (mine.path / "digests.json").unlink()
    with pytest.raises(DamagedFile, match=r"manifest.json is damaged \(" + where):
        export.write(mine, "safetensors")


def test_a_figure_is_the_logs_and_not_its_copys(mine: RunFolder) -> None:
    status = json.loads((mine.path / "status.json").read_text())
    last = status["result"]["last"]
    (mine.path / "status.json").write_text(json.dumps({**status, "result": {**status["result"], "last": 0.9999}}))
    card = (export.write(mine, "safetensors").path / "README.md").read_text()
    assert "0.9999" not in card
    assert f"{last:.4f}" in card


def test_names_of_classes_are_shown_as_they_are(mine: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("back\\*slash*", "a|b", *"23456789")
    monkeypatch.setattr("dfkd_lab.teachers.class_order.names_of", lambda card: names)
    card = (export.write(mine, "safetensors").path / "README.md").read_text()
    assert "back\\\\\\*slash\\*, a\\|b, 2" in card
