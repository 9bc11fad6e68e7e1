"""CIFAR-10 is laid together from pieces, and nothing but the published bytes is taken for it."""

import hashlib
from pathlib import Path

import gather_cifar
import pytest


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six small files in the place of the published ones."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    contents = {name: f"this is {name}".encode() for name in names}
    listed = [(f"cifar-10-batches-py/{name}", hashlib.md5(text).hexdigest()) for name, text in contents.items()]
    monkeypatch.setattr(gather_cifar, "files_of", lambda source, train: listed[:5] if train else listed[5:])
    return contents


def test_pieces_of_several_folders_and_calls_make_a_whole(
    published: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (name, text) in enumerate(published.items()):
        piece = tmp_path / f"piece{number % 3}" / "deep" / name
        piece.parent.mkdir(parents=True, exist_ok=True)
        piece.write_bytes(text)
    into = ["--into", str(tmp_path / "data")]
    assert gather_cifar.main([str(tmp_path / "piece0"), str(tmp_path / "piece1"), *into]) == 1
    assert capsys.readouterr().out == "missing: data_batch_3, test_batch\n"
    assert gather_cifar.main([str(tmp_path / "piece2"), *into]) == 0
    found = {file.name: file.read_bytes() for file in (tmp_path / "data/cifar-10-batches-py").iterdir()}
    assert found == published


def test_a_damaged_piece_is_passed_over_and_a_damaged_copy_replaced(
    published: dict[str, bytes], tmp_path: Path
) -> None:
    for folder, keep in (("cut", 4), ("whole", 99)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test_batch").write_bytes(published["test_batch"][:keep])
    copy = tmp_path / "data/cifar-10-batches-py/test_batch"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"half")
    assert "test_batch" in gather_cifar.gather([tmp_path / "cut"], tmp_path / "data")
    assert "test_batch" not in gather_cifar.gather([tmp_path / "cut", tmp_path / "whole"], tmp_path / "data")
    assert copy.read_bytes() == published["test_batch"]


def test_a_folder_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gather_cifar.main([str(tmp_path / "nowhere"), "--into", str(tmp_path)])
    assert "nowhere is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gather_cifar.main([str(tmp_path), "--into", __file__])
    assert "test_gather_cifar.py is a file; allowed: a folder" in capsys.readouterr().err
