"""Teachers of a network in a user's own Python file: bare weights, wrapped ones, and a training that knows its code."""

from pathlib import Path

import pytest
import torch

from dfkd_lab import data, nets, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.errors import SpecError
from dfkd_lab.teachers.teacher_spec import TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining
from tests.support import own_file

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with my.py and its weights, bare and wrapped."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_file())
    nets.trust("my.py:Mine")
    weights = nets.classifier("my.py:Mine", 1, 10).state_dict()
    torch.save(weights, "bare.pth")
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, "wrapped.pth")
    return tmp_path


@pytest.mark.parametrize("name", ["my.py:Mine@bare.pth", "my.py:Mine@wrapped.pth", "my.py:fixed@bare.pth"])
@pytest.mark.parametrize(("normalization", "data_set"), [("auto", "digits"), ("digits", "none"), ("digits", "digits")])
def test_bare_weights_say_channels_and_classes(here: Path, name: str, normalization: str, data_set: str) -> None:
    teacher = teachers.load(name, normalization, data_set)
    assert (teacher.card.shape, teacher.card.classes, teacher.card.mean) == ((1, 16, 16), 10, (0.3053,))
    weights = torch.load("bare.pth", weights_only=True)
    assert all(value.equal(weights[name]) for name, value in teacher.model.net.state_dict().items())
    assert teacher.describe()["net"] == name.partition("@")[0]


@pytest.mark.parametrize(
    ("name", "normalization", "sentence"),
    [
        ("my.py:Mine", "digits", "a network without weights teaches nothing; write FILE.py:NAME@WEIGHTS"),
        ("my.py:Mien@bare.pth", "digits", "did you mean 'Mine'"),
        ("my.py:Mine@absent.pth", "digits", "there is no file absent.pth"),
        ("absent.py:Mine@bare.pth", "digits", "there is no file .*absent.py"),
        ("my.py:Mine@bare.pth", "auto", "a bare checkpoint does not say its normalization"),
        (
            "other.py:Mine@bare.pth",
            "digits",
            r"does not fit the network 'other.py:Mine': features.0.weight is \(4, 1, 3",
        ),
    ],
)
def test_what_cannot_be_such_a_teacher_is_refused(here: Path, name: str, normalization: str, sentence: str) -> None:
    (here / "other.py").write_text(own_file(width=5))
    with pytest.raises(SpecError, match=sentence) as error:
        teachers.load(name, normalization)
    assert "\n" not in str(error.value)


def test_a_measurement_is_of_this_code(here: Path) -> None:
    split = data.evaluation_set("digits")
    teachers.measured(teachers.load("my.py:Mine@bare.pth", "digits"), "digits", split)
    assert teachers.kept_measurement(teachers.load("my.py:Mine@bare.pth", "digits"), "digits")
    with (here / "my.py").open("a") as file:
        file.write("# edited\n")
    assert teachers.kept_measurement(teachers.load("my.py:Mine@bare.pth", "digits"), "digits") is None


def test_a_teacher_is_trained_from_a_file_and_loaded_with_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-teacher", "my.py:Mine", "--data", "digits", "--epochs", "1", "--out", "t.safetensors"]) == 0
    assert main(["teachers", "my.py:Mine@t.safetensors"]) == 0
    said = capsys.readouterr().out
    assert "on the held-out digits" in said
    assert str(here) not in said
    with pytest.raises(SpecError, match=r"say which: FILE.py:NAME@t.safetensors"):
        teachers.load("t.safetensors")


def test_a_training_goes_on_with_the_code_that_it_began_with(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = TeacherSpec("my.py:Mine", "digits", epochs=2, out="t.safetensors", device="cpu")
    training = TeacherTraining(spec)
    next(iter(training))
    spec.checkpoint.write_bytes(b"")
    with spec.checkpoint.open("wb") as file:
        torch.save(training.state_dict(), file)
    with (here / "my.py").open("a") as file:
        file.write("# edited\n")
    assert main(["train-teacher", "my.py:Mine", "--epochs", "2", "--out", "t.safetensors", "--device", "cpu"]) == 2
    assert "holds another training (train-teacher my.py:Mine --data digits" in capsys.readouterr().err


def test_tied_weights_are_saved(here: Path) -> None:
    tied = (
        "class Tied(Mine):\n    def __init__(self):\n        super().__init__(1, 10)\n        self.more = self.head\n"
    )
    (here / "tied.py").write_text(own_file() + tied)
    nets.trust("tied.py:Tied")
    card = teachers.Card("tied.py:Tied", 10, (1, 16, 16), (0.5,), (0.5,))
    teachers.save(teachers.student_of(card, "tied.py:Tied"), card, here / "tied.safetensors")
    assert teachers.load("tied.py:Tied@tied.safetensors").card.classes == 10
