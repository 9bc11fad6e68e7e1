"""Teachers: the built-in one, files that are not what they say, and that nothing in a file is executed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dfkd_lab import data, nets, teachers
from dfkd_lab.spec import SpecError
from dfkd_lab.teachers import Card, Teacher


def write(path: Path, net: str = "convnet_8", classes: int = 10, channels: int = 1, **card: Any) -> Path:
    """A checkpoint of an untrained network with a card."""
    facts = Card(net, classes, (channels, 16, 16), (0.3,), (0.3,))
    model = teachers.Classifier(nets.classifier(net, channels, classes), facts.mean, facts.std)
    teachers.save(model, dataclasses.replace(facts, **card), path)
    return path


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def refusal(name: Path | str, normalization: str = "auto", check_on: data.Split | None = None) -> str:
    with pytest.raises(SpecError) as error:
        teachers.check(teachers.load(str(name), normalization), check_on)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_built_in_teacher_knows_the_digits(teacher: Teacher, held_out: data.Split) -> None:
    assert teachers.check(teacher, held_out) >= 0.97
    assert teachers.check(teacher, None) is None
    row = teacher.describe()
    assert (row["net"], row["classes"], row["shape"], row["data"]) == ("convnet_32", 10, [1, 16, 16], "digits")
    assert row["batch_norm_layers"] == 3
    assert "seed 0" in row["recipe"]
    assert not [parameter for parameter in teacher.model.parameters() if parameter.requires_grad]
    assert not teacher.model.train().training


def test_saving_again_gives_the_same_bytes_and_loading_the_same_teacher(teacher: Teacher, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    teachers.save(teacher.model, teacher.card, again)
    assert again.read_bytes() == teacher.path.read_bytes()
    loaded = teachers.load(str(again))
    assert loaded.sha256 == teacher.sha256
    assert loaded.card == teacher.card
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]


def test_a_bare_checkpoint_needs_its_network_and_its_normalization(teacher: Teacher, tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in teacher.model.net.state_dict().items()}}, path
    )
    assert "NET@FILE" in refusal(path)
    assert "does not say its normalization; give one of digits" in refusal(f"convnet_32@{path}")
    loaded = teachers.load(f"convnet_32@{path}", "digits")
    assert loaded.card.classes == 10
    images = torch.rand(4, 1, 16, 16)
    assert torch.equal(loaded.model(images), teacher.model(images))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(teacher: Teacher, tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    weights = teacher.model.net.state_dict()
    save_file(weights, whole) if suffix == ".safetensors" else torch.save(weights, whole)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    assert str(path) in refusal(f"convnet_32@{path}", "digits")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin"])
def test_pickled_code_is_refused_and_not_executed(tmp_path: Path, suffix: str) -> None:
    boom, path = tmp_path / "boom", tmp_path / f"bomb{suffix}"
    torch.save({"weight": torch.zeros(2), "bomb": Bomb(boom)}, path)
    assert str(path) in refusal(f"convnet_8@{path}", "digits")
    assert not boom.exists()


@pytest.mark.parametrize("found", [[1, 2], {"a": 1}, {"epoch": 3, "weights": {}}, torch.zeros(3), nn.Linear(2, 2)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, found: Any) -> None:
    path = tmp_path / "other.pt"
    torch.save(found, path)
    assert str(path) in refusal(f"convnet_8@{path}", "digits")


def test_another_architecture_is_refused_naming_what_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "small.safetensors", net="convnet_8")
    assert "does not fit the network 'convnet_32'" in refusal(f"convnet_32@{path}", "digits")
    assert "'convnet_9' is not a network; did you mean" in refusal(f"convnet_9@{path}", "digits")
    assert "does not fit the network 'convnet_16'" in refusal(relabelled(path, net="convnet_16"))


def relabelled(path: Path, **changes: Any) -> Path:
    """The same weights under another card."""
    other = path.with_name("relabelled.safetensors")
    card = dataclasses.asdict(teachers.load(str(path)).card)
    save_file(load_file(path), other, metadata={"dfkd_lab": json.dumps({**card, **changes})})
    return other


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"net": 3},
        {"classes": "ten"},
        {"classes": -1},
        {"shape": 16},
        {"mean": "dark"},
        {"mean": [1, 2]},
    ],
    ids=str,
)
def test_a_card_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = relabelled(write(tmp_path / "right.safetensors"), **changes)
    assert str(path) in refusal(path)


@pytest.mark.parametrize("metadata", ["not json", "[]", "3"])
def test_a_card_that_is_no_card_is_refused(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"dfkd_lab": metadata})
    assert str(path) in refusal(path)


def test_a_wrong_number_of_classes_or_another_shape_is_refused(tmp_path: Path, held_out: data.Split) -> None:
    three = write(tmp_path / "three.safetensors", classes=3)
    assert refusal(three, check_on=held_out) == "the teacher knows 3 classes, the evaluation data has 10"
    color = write(tmp_path / "color.safetensors", channels=3)
    assert "takes images [3, 16, 16], the evaluation data has [1, 16, 16]" in refusal(color, check_on=held_out)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pt"
    assert f"there is no file {missing}" in refusal(f"convnet_8@{missing}", "digits")
    assert f"there is no file {tmp_path}" in refusal(f"convnet_8@{tmp_path}", "digits")
    assert "'digit' is not a teacher; did you mean 'digits'?" in refusal("digit")


def test_a_wrong_normalization_is_noticed_and_the_right_one_named(
    teacher: Teacher, tmp_path: Path, held_out: data.Split
) -> None:
    path = tmp_path / "dark.safetensors"
    teachers.save(teacher.model, dataclasses.replace(teacher.card, mean=(2.0,), std=(0.3312,)), path)
    assert "normalization looks wrong" in (said := refusal(path, check_on=held_out))
    assert said.endswith("say --normalization digits")
    assert teachers.check(teachers.load(str(path), "digits"), held_out) >= 0.97


def test_a_normalization_that_nobody_knows_or_of_other_channels_is_refused(held_out: data.Split) -> None:
    assert "did you mean 'cifar10'" in refusal("digits", "cifar")
    assert "channel" in refusal("digits", "cifar10", held_out)


def test_a_student_is_normalized_like_the_teacher(teacher: Teacher) -> None:
    student = teachers.student_of(teacher.card, "convnet_8")
    assert torch.equal(student.mean, teacher.model.mean)
    assert student(torch.rand(2, 1, 16, 16)).shape == (2, 10)
