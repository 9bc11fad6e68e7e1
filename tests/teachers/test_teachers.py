"""Teachers: the built-in one, files that are not what they say, and that nothing in a file is executed."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dfkd_lab import data, methods, nets, teachers
from dfkd_lab.engine.metrics import Accuracy
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import settings_of
from dfkd_lab.teachers import Card, Teacher

pytestmark = pytest.mark.slow


def write(path: Path, net: str = "convnet_8", classes: int = 10, channels: int = 1, **card: Any) -> Path:
    """A checkpoint of an untrained network with a card."""
    facts = Card(net, classes, (channels, 16, 16), (0.3,), (0.3,))
    model = Classifier(nets.classifier(net, channels, classes), facts.mean, facts.std)
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
        teachers.examine(teachers.load(str(name), normalization), check_on)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_built_in_teacher_knows_the_digits(teacher: Teacher, held_out: data.Split) -> None:
    assert teachers.examine(teacher, held_out).accuracy >= 0.97
    assert teachers.examine(teacher, None) is None
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


def test_a_bare_checkpoint_is_found_and_needs_its_normalization(teacher: Teacher, tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in teacher.model.net.state_dict().items()}}, path
    )
    images = torch.rand(4, 1, 16, 16)
    for name in (str(path), f"convnet_32@{path}"):
        said = refusal(name)
        assert "does not say its normalization; give one of digits" in said
        assert said.endswith(", or the evaluation set it was trained for, as data = 'digits'")
        assert teachers.load(name, data="digits").card.mean == data.NORMALIZATIONS["digits"][0]
        loaded = teachers.load(name, "digits")
        assert (loaded.card.net, loaded.card.classes, loaded.card.shape) == ("convnet_32", 10, (1, 16, 16))
        assert loaded.card.recipe.endswith("a bare checkpoint, weights from 'state_dict', names without wrappers")
        assert torch.equal(loaded.model(images), teacher.model(images))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".tar", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(teacher: Teacher, tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    weights = teacher.model.net.state_dict()
    save_file(weights, whole) if suffix == ".safetensors" else torch.save(weights, whole)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    said = refusal(f"convnet_32@{path}", "digits")
    assert str(path) in said
    assert "truncated" in said or "damaged" in said


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin"])
def test_pickled_code_is_refused_and_not_executed(tmp_path: Path, suffix: str) -> None:
    boom, path = tmp_path / "boom", tmp_path / f"bomb{suffix}"
    torch.save({"weight": torch.zeros(2), "bomb": Bomb(boom)}, path)
    said = refusal(f"convnet_8@{path}", "digits")
    assert str(path) in said
    assert suffix == ".safetensors" or ("holds more than tensors" in said and "code in a file is never run" in said)
    assert not boom.exists()


@pytest.mark.parametrize("found", [[1, 2], {"a": 1}, {"epoch": 3, "weights": {}}, torch.zeros(3), nn.Linear(2, 2)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, found: Any) -> None:
    path = tmp_path / "other.pt"
    torch.save(found, path)
    assert str(path) in refusal(f"convnet_8@{path}", "digits")


def test_another_architecture_is_refused_naming_what_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "small.safetensors", net="convnet_8")
    said = refusal(f"convnet_32@{path}", "digits")
    assert "does not fit the network 'convnet_32'" in said
    assert said.endswith("the nearest known network is 'convnet_8' (7 of 7 layers agree)")
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
    assert "'digit' is not a teacher; did you mean 'digits'? (allowed also: a checkpoint, FILE (" in refusal("digit")


def test_a_wrong_normalization_is_noticed_and_the_right_one_named(
    teacher: Teacher, tmp_path: Path, held_out: data.Split
) -> None:
    path = tmp_path / "dark.safetensors"
    teachers.save(teacher.model, dataclasses.replace(teacher.card, mean=(2.0,), std=(0.3312,)), path)
    assert "normalization looks wrong" in (said := refusal(path, check_on=held_out))
    assert said.endswith("say --normalization digits")
    assert teachers.examine(teachers.load(str(path), "digits"), held_out).accuracy >= 0.97


def test_a_normalization_that_nobody_knows_or_of_other_channels_is_refused(held_out: data.Split) -> None:
    assert "did you mean 'cifar10'" in refusal("digits", "cifar")
    assert "channel" in refusal("digits", "cifar10", held_out)


def test_a_student_is_normalized_like_the_teacher(teacher: Teacher) -> None:
    student = teachers.student_of(teacher.card, "convnet_8")
    assert torch.equal(student.mean, teacher.model.mean)
    assert student(torch.rand(2, 1, 16, 16)).shape == (2, 10)


def test_the_evaluation_set_says_the_normalization_of_a_bare_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    torch.save(nets.classifier("resnet8", 3, 10).state_dict(), path)
    card = teachers.load(str(path), data="cifar10").card
    assert (card.mean, card.shape) == ((0.4914, 0.4822, 0.4465), (3, 32, 32))
    assert teachers.load(str(path), "half", data="cifar10").card.mean == (0.5,)
    for unsaid in ("", "none", "digits"):
        with pytest.raises(SpecError, match="does not say its normalization"):
            teachers.load(str(path), data=unsaid)


def test_a_torchvision_network_is_loaded_with_its_own_input(tmp_path: Path) -> None:
    path, name = tmp_path / "big.pth", "torchvision:shufflenet_v2_x0_5"
    net = nets.classifier(name, 3, 7)
    torch.save({"model": net.state_dict()}, path)
    loaded = teachers.load(f"{name}@{path}")
    assert (loaded.card.net, loaded.card.classes, loaded.card.shape) == (name, 7, (3, 224, 224))
    assert loaded.card.mean == (0.485, 0.456, 0.406)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded.model.net(images), net.eval()(images))
    assert "'shufflenet' is not a network of torchvision" in refusal(f"torchvision:shufflenet@{path}")
    assert "fits no known network" in (said := refusal(path))
    assert said.endswith("if it is one of torchvision or timm, say SOURCE:NET@FILE")


def test_a_file_under_a_suffix_of_old_releases_is_read(teacher: Teacher, tmp_path: Path) -> None:
    for suffix in (".th", ".tar"):
        path = tmp_path / f"model{suffix}"
        torch.save({"state_dict": teacher.model.net.state_dict(), "best_prec1": 91.7}, path)
        assert teachers.load(str(path), "digits").card.net == "convnet_32"


def test_a_normalization_is_sought_on_few_images_of_every_class_of_sorted_data(
    teacher: Teacher, held_out: data.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, asked = held_out.labels.argsort().repeat_interleave(3), []
    monkeypatch.setattr(
        "dfkd_lab.teachers.measurement.Accuracy", lambda images, labels: asked.append(labels) or (lambda model: 1.0)
    )
    teachers.examine(teacher, data.Split(held_out.images[order], held_out.labels[order]))
    assert not asked, "a teacher that is right with its own normalization is not asked with others"
    wrong = (held_out.labels[order] + 1) % 10
    with pytest.raises(SpecError, match="normalization looks wrong"):
        teachers.examine(teacher, data.Split(held_out.images[order], wrong))
    assert len(asked[0]) < 1000
    assert set(asked[0].tolist()) == set(range(10))


def test_the_card_says_how_right_and_how_sure_the_teacher_is(teacher: Teacher, held_out: data.Split) -> None:
    calibration = teachers.examine(teacher, held_out)
    assert calibration is not None
    row = teacher.describe(calibration)
    assert row["accuracy"] == pytest.approx(Accuracy(held_out.images, held_out.labels)(teacher.model), abs=1e-6)
    assert row["accuracy"] < row["top5"] <= 1
    assert 0 < row["calibration_error"] < 0.05
    assert row["warning"] == ""
    first = teacher.norms[0].running_mean
    assert first is not None
    assert row["running_mean"][0] <= float(first.min())
    assert "accuracy" not in teacher.describe()


def test_two_processes_that_save_at_once_do_not_take_each_others_file(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace, others = tmp_path / "shared.safetensors", Path.replace, [4321]

    def replace_after_another_process(temporary: Path, target: Path) -> Path:
        if others:
            monkeypatch.setattr("os.getpid", others.pop)
            teachers.save(teacher.model, teacher.card, path)
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", replace_after_another_process)
    teachers.save(teacher.model, teacher.card, path)
    assert teachers.load(str(path)).sha256 == teacher.sha256
    assert [each.name for each in tmp_path.iterdir()] == ["shared.safetensors"]


def test_two_processes_may_train_the_digits_teacher_at_once(tmp_path: Path) -> None:
    code = (
        "import dataclasses; from dfkd_lab.teachers.built_in import BUILT_IN, train_built_in;"
        "built_in = BUILT_IN['digits'];"
        "spec = dataclasses.replace(built_in.spec, epochs=1);"
        "BUILT_IN['digits'] = dataclasses.replace(built_in, spec=spec); print(train_built_in('digits'))"
    )
    environment = {**os.environ, "DFKD_CACHE": str(tmp_path)}
    start = lambda: subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)  # noqa: E731
    both = [start(), start()]
    said = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (path,) = tmp_path.iterdir()
    assert said == {str(path)}
    assert teachers.load(str(path)).card.data == "digits"


@pytest.fixture
def normless(tmp_path: Path) -> Path:
    """A teacher without batch norm."""
    return write(tmp_path / "lenet.safetensors", net="lenet5")


READS_NORMS = {"ssd_kd", "fast", "cmi", "nayer", "cgdd", "ddad", "deepinversion", "dfad_ar_vi", "dfq", "fssc", "mad",
               "spaceshipnet"}  # fmt: skip


@pytest.mark.parametrize("method", methods.METHODS)
def test_a_method_that_reads_batch_norm_is_refused_at_once_without_any(
    method: str, normless: Path, make_spec: Callable[..., Any]
) -> None:
    real = methods.remark(methods.find(method))
    given = {"teacher": str(normless), "student": "lenet5", "data": "digits" if real else "none", "rounds": 1}
    if method not in READS_NORMS:
        assert len(list(Session(make_spec(method, **given)))) == 1
        return
    # nobody asked: bn_gap gives way to what needs no statistics (tests/runs/test_defaults.py)
    asked = {"bn_gap": 1.0} if "bn_gap" in settings_of(methods.find(method)) else {}
    with pytest.raises(SpecError, match=r"reads the teacher's batch-norm layers.*has none.*leave it out with terms = "):
        make_spec(method, **given, settings=asked)


def test_a_term_of_batch_norm_that_has_no_weight_is_no_obstacle(normless: Path, make_spec: Callable[..., Any]) -> None:
    common: dict[str, Any] = {"teacher": str(normless), "student": "lenet5", "data": "none"}
    assert len(list(Session(make_spec("ssd_kd", terms="bn_gap=0", **common)))) == 2
    for terms in ("bn_gap=1", "contrast=1"):
        with pytest.raises(SpecError, match="batch-norm"):
            make_spec("dafl", out="other", terms=terms, **common)


@pytest.mark.long
@pytest.mark.data
@pytest.mark.skipif("DFKD_DATA" not in os.environ, reason="needs $DFKD_DATA")
@pytest.mark.parametrize(("depth", "accuracy"), [(20, 0.9260), (56, 0.9437)])
def test_the_cifar10_teachers_measure_what_they_are_known_for(depth: int, accuracy: float) -> None:
    from torchvision.datasets import CIFAR10

    root = Path(os.environ["DFKD_DATA"])
    found = CIFAR10(root, train=False, download=False)
    images = torch.from_numpy(found.data).permute(0, 3, 1, 2).float() / 255
    teacher = teachers.load(str(root / "teachers" / f"cifar10_resnet{depth}.pth"), data="cifar10")
    assert teacher.card.net == f"resnet{depth}_b"
    calibration = teachers.examine(teacher, data.Split(images, torch.tensor(found.targets)))
    assert calibration is not None
    assert round(calibration.accuracy, 4) == accuracy
    assert calibration.top5 > 0.99
    assert calibration.warning() == ""
    assert calibration.confidence > accuracy
