"""Which files near by are offered as teachers."""

import os
from pathlib import Path

import pytest

from dfkd_lab import teachers


def test_checkpoints_near_by_are_offered_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.pth", "models/b.safetensors", "runs/one/student.safetensors", "data/teachers/c.pt"]
    others = ["runs/one/checkpoint.pt", "notes.txt", "models/deep/down/d.pth", "runs/one/samples/e.pt"]
    for age, name in enumerate([*names, *others]):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        os.utime(file, (1e9 - age, 1e9 - age))
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    found = teachers.near_by()
    assert found == [*names[:3], str(tmp_path / names[3])]
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert teachers.near_by() == [*(f"../{name}" for name in names[:3]), str(tmp_path / names[3])]
