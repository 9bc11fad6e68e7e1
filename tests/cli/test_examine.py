"""``examine`` from the command line: tables that say what its file says, and refusals in a sentence."""

from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import RunFolder
from dfkd_lab.__main__ import main
from dfkd_lab.cli import examine
from dfkd_lab.runs import examination
from tests.support import events_of, finished

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of two tiny rounds."""
    return finished(tmp_path_factory.mktemp("examined") / "run")


def table(lines: list[str], head: str) -> list[list[str]]:
    """The cells of the first table below a line that begins so."""
    at = next(number for number, line in enumerate(lines) if line.startswith(head))
    rows = lines[at + 1 :]
    return [line.split() for line in rows[: rows.index("")]]


def test_the_tables_say_what_the_file_says(folder: RunFolder, capsys: Any) -> None:
    assert main(["examine", str(folder.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = examination.read(folder.path)
    assert found is not None
    accuracy = events_of(folder)[-1]["accuracy"]
    assert f"the 450 images of the evaluation set digits: right in {accuracy:.3f} of images" in lines
    head, *rows = table(lines, "the 450 images of the evaluation set digits")
    assert head == ["label", "images", "accuracy"]
    sums = found.evaluation.counts.sum(1).tolist()
    shares = [f"{share:.3f}" for share in found.evaluation.by_class]
    assert rows == [[str(each), str(sums[each]), shares[each]] for each in range(10)]
    row, column, count = found.evaluation.largest(1)[0]
    assert lines[lines.index("label  student  images") + 1].split() == [str(row), str(column), str(count)]
    assert any(line.startswith("the 32 images that the run's memory kept: teacher and student agree") for line in lines)
    assert lines[-1] == f"examination {folder.path / examination.FILE}"


def test_of_many_classes_the_worst_have_a_line(folder: RunFolder, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "MOST_ROWS", 3)
    assert main(["examine", str(folder.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = lines[lines.index("label  images  accuracy") + 1 :][:4]
    assert rows[3] == "and 7 more classes, which are better"
    shares = [float(line.split()[2]) for line in rows[:3]]
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "examine takes one run folder, as in: examine runs/demo-seed0"),
        (["one", "two"], "examine takes one run folder"),
        (["--help-me"], "examine takes one run folder"),
        (["nowhere"], "'nowhere' is not a run folder"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    words: list[str], sentence: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["examine", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_run_without_a_checkpoint_is_refused(folder: RunFolder, capsys: Any, tmp_path: Path) -> None:
    out = str(tmp_path / "new")
    assert main(["run", "dafl", "--rounds", "1", "--data", "none", "--out", out, "--batch", "8", "--cycles", "1"]) == 0
    for name in ("checkpoint.pt", "student.safetensors"):
        (tmp_path / "new" / name).unlink()
    capsys.readouterr()
    assert main(["examine", out]) == 2
    said = capsys.readouterr().err
    assert "has no student to examine: it is finished, and nothing is saved in checkpoint.pt" in said
    assert said.count("\n") == 1
