"""A teacher trained by the fixed recipe: in slices it is the same teacher, and nothing is overwritten by accident."""

import dataclasses
import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from dfkd_lab import data, nets, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import build
from dfkd_lab.teachers import recipes
from dfkd_lab.teachers.recipes import SHORT
from dfkd_lab.teachers.teacher_spec import EPOCHS, TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining

pytestmark = pytest.mark.slow

PER_EPOCH = 5
"""Steps of an epoch of the digits: 1,347 images in batches of 256."""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., TeacherSpec]:
    """``make(out="a", ...)``: two epochs of the smallest network on the digits."""

    def make(out: str = "teacher", **values: Any) -> TeacherSpec:
        file = str(tmp_path / f"{out}.safetensors")
        given = {"net": "convnet_8", "epochs": 2, "device": "cpu", "out": file, **values}
        return build(TeacherSpec, given)

    return make


Make = Callable[..., TeacherSpec]


@pytest.fixture
def whole(make: Make) -> dict[str, Tensor]:
    """The weights of a training that nobody stopped."""
    return weights(finish(make("whole")))


def finish(spec: TeacherSpec) -> TeacherSpec:
    list(TeacherTraining(spec))
    return spec


def weights(spec: TeacherSpec) -> dict[str, Tensor]:
    return load_file(spec.path)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def arguments(spec: TeacherSpec, *more: str) -> list[str]:
    return ["train-teacher", spec.net, "--epochs", str(spec.epochs), "--out", spec.out, "--device", "cpu", *more]


def stopping_at(step: int, how: Callable[[TeacherTraining], object], patch: pytest.MonkeyPatch) -> None:
    """Call ``how`` right before the given step of the next training."""
    usual = TeacherTraining._step

    def counted(self: TeacherTraining) -> None:
        if self.step == step:
            how(self)
        usual(self)

    patch.setattr(TeacherTraining, "_step", counted)


# slices


@pytest.mark.parametrize("step", [0, 2, 4, 6])
def test_two_slices_give_the_same_weights_as_one(
    make: Make, whole: dict[str, Tensor], step: int, ambient: Callable[[int], None]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(step, TeacherTraining.stop, patch)
        first = TeacherTraining(make())
        assert len(list(first)) == (step + 1) // PER_EPOCH
    assert (first.step, first.done) == (step + 1, False)
    assert not make().path.exists()
    ambient(123)
    second = TeacherTraining(make())
    assert second.step == step + 1
    assert [epoch.number for epoch in second][-1] == 2
    assert second.done
    assert same(weights(make()), whole)
    assert sorted(path.name for path in make().path.parent.iterdir()) == ["teacher.safetensors", "whole.safetensors"]


def test_a_continued_epoch_reports_the_loss_of_all_its_steps(make: Make) -> None:
    losses = [epoch.loss for epoch in TeacherTraining(make("whole"))]
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(1, TeacherTraining.stop, patch)
        list(TeacherTraining(make()))
    assert [epoch.loss for epoch in TeacherTraining(make())] == losses


@pytest.mark.parametrize("part", ["optimizer", "averaged", "model", "stream", "order"])
def test_the_checkpoint_needs_each_of_its_parts(make: Make, whole: dict[str, Tensor], part: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(1, TeacherTraining.stop, patch)
        list(TeacherTraining(make()))
    other = TeacherTraining(make("other", seed=1))
    state = torch.load(make().checkpoint, weights_only=True)
    state[part] = other.state_dict()[part]
    torch.save(state, make().checkpoint)
    assert not same(weights(finish(make())), whole)


def test_another_seed_gives_another_teacher(make: Make, whole: dict[str, Tensor]) -> None:
    assert not same(weights(finish(make("other", seed=1))), whole)
    assert same(weights(finish(make("again"))), whole)


def test_when_the_minutes_are_over_the_same_command_continues(
    make: Make, whole: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(make(), "--minutes", "0.0001")  # over before the first step, which is made all the same
    for step in range(1, 2 * PER_EPOCH):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 75
        assert f"{step} of 10 steps are saved in {make().checkpoint}; run the same command again" in (
            capsys.readouterr().out
        )
    assert main(command) == 0
    assert same(weights(make()), whole)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_gives_the_same_teacher(
    make: Make, whole: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make()
    for _ in range(3):
        one_step = TeacherTraining(spec)
        one_step.end()
        assert list(one_step) == []
    content = bytearray(spec.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    spec.checkpoint.write_bytes(content)
    assert main(arguments(spec)) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"cannot be read \(.*damaged.* is teacher.safetensors.part.damaged now\); going on from step 2", said
    )
    assert same(weights(spec), whole)
    assert sorted(each.name for each in spec.path.parent.iterdir() if each.name.startswith("teacher.")) == [
        "teacher.safetensors",
        "teacher.safetensors.part.damaged",
    ]


def test_minutes_without_epochs_lay_the_training_out_and_it_goes_on_as_it_was(
    make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out = TeacherTraining(make(epochs=0, minutes=0.0001))
    assert laid_out.epochs == 1, "nothing fits, and one is trained all the same"
    assert TeacherTraining(make(epochs=0, minutes=10_000)).epochs == EPOCHS
    assert TeacherTraining(make(epochs=0)).epochs == EPOCHS
    monkeypatch.setattr(TeacherTraining, "_epochs_within", lambda self, seconds: 2)
    spec = make("laid", epochs=0, minutes=3)
    for epoch in (begun := TeacherTraining(spec)):
        assert epoch.epochs == 2
        begun.stop()
    monkeypatch.setattr(TeacherTraining, "_epochs_within", None)  # what is begun is not timed again
    training = TeacherTraining(spec)
    assert [epoch.number for epoch in training] == [2]
    assert training.done
    assert "--minutes 3 --seed 0: SGD" in training.card.recipe
    assert main(["train-teacher", "convnet_8", "--minutes", "3", "--out", spec.out, "--device", "cpu"]) == 0
    assert "is finished" in capsys.readouterr().out
    assert same(weights(spec), weights(finish(make("two", epochs=2))))
    assert TeacherSpec(minutes=2.5).path.name == "digits-convnet_32-minutes2.5-seed0.safetensors"


def test_the_first_interrupt_saves_and_the_second_ends_at_once(
    make: Make, whole: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests were started in a shell's background
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(6, lambda _: os.kill(os.getpid(), signal.SIGINT), patch)
        with pytest.raises(SystemExit) as end:
            main(arguments(make()))
    assert end.value.code == 130
    said = capsys.readouterr()
    assert "stopping after this step" in said.err
    assert "7 of 10 steps are saved" in said.out
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(8, lambda _: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)], patch)
        assert main(arguments(make())) == 130
    assert torch.load(make().checkpoint, weights_only=True)["step"] == 7
    assert signal.getsignal(signal.SIGINT) is before
    assert main(arguments(make())) == 0
    assert same(weights(make()), whole)


def test_a_long_training_is_saved_on_its_way(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfkd_lab.teachers.training.CHECKPOINT_S", 0.0)
    training = iter(TeacherTraining(make()))
    assert next(training).number == 1
    assert torch.load(make().checkpoint, weights_only=True)["step"] == PER_EPOCH


def test_the_host_asks_the_device_once_an_epoch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    usual = Tensor.item
    monkeypatch.setattr(Tensor, "item", lambda self: asked.append(1) or usual(self))
    epochs = list(TeacherTraining(make()))
    assert len(asked) == len(epochs) == 2


# the result


def test_the_file_is_a_teacher_that_knows_the_digits_and_says_how_it_was_made(
    make: Make, capsys: pytest.CaptureFixture[str], held_out: data.Split
) -> None:
    spec = make(net="convnet_16", epochs=14)
    assert main([*arguments(spec), "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15
    assert lines[0].startswith("epoch 1/14  loss ")
    teacher = teachers.load(spec.out)
    accuracy = teachers.examine(teacher, held_out).accuracy
    assert accuracy is not None
    assert accuracy > 0.95
    assert f"accuracy {accuracy:.4f}" in lines[-2]
    assert (teacher.card.net, teacher.card.classes, teacher.card.shape) == ("convnet_16", 10, (1, 16, 16))
    assert (teacher.card.data, teacher.card.mean) == ("digits", teachers.NORMALIZATIONS["digits"][0])
    assert teacher.card.recipe in lines[-1]
    facts = [
        "train-teacher convnet_16 --data digits --epochs 14 --seed 3: SGD 0.2",
        "no label smoothing",
        "no flip",
        "70 steps",
        f"accuracy {accuracy:.4f} on the 450 held-out images",
        "float32 on CPU",
        torch.__version__,
    ]
    for fact in facts:
        assert fact in teacher.card.recipe
    assert main(["teachers", spec.out]) == 0
    assert f"{accuracy:.4f} on the held-out digits" in capsys.readouterr().out


def test_a_teacher_without_a_name_goes_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    assert main(["train-teacher", "convnet_8", "--epochs", "1", "--device", "cpu"]) == 0
    found = [path.name for path in (tmp_path / "cache").iterdir()]
    assert found == ["digits-convnet_8-epochs1-seed0.safetensors"]


def test_a_teacher_whose_data_is_not_here_is_shown_unmeasured(
    make: Make, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    teacher = teachers.load(finish(make()).out)
    card = dataclasses.replace(teacher.card, data=f"folder:{tmp_path}/absent")
    teachers.save(teacher.model, card, tmp_path / "far.safetensors")
    assert main(["teachers", str(tmp_path / "far.safetensors")]) == 0
    said = f"accuracy           not measured; the file names {card.data}: to measure it there, add --data {card.data}\n"
    assert said in capsys.readouterr().out


def test_a_finished_training_says_so_and_does_nothing(
    make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(arguments(make()))
    before = make().path.read_bytes()
    capsys.readouterr()
    monkeypatch.setattr(data, "training_set", lambda *_: pytest.fail("read"))
    assert main(arguments(make())) == 0
    assert capsys.readouterr().out.startswith(f"{make().path} is finished: train-teacher convnet_8 --data digits")
    monkeypatch.undo()
    assert list(TeacherTraining(make())) == []
    assert make().path.read_bytes() == before


def test_a_file_of_another_training_is_not_overwritten(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = make("stopped", seed=1)
    with pytest.MonkeyPatch.context() as patch:
        stopping_at(1, TeacherTraining.stop, patch)
        list(TeacherTraining(stopped))
    finish(make())
    before = make().path.read_bytes(), stopped.checkpoint.read_bytes()
    assert main(arguments(make(), "--seed", "2")) == main(arguments(stopped, "--seed", "2")) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(
        f"out: {make().path} holds another teacher (train-teacher convnet_8 --data digits --epochs 2"
    )
    assert second.startswith(f"{stopped.checkpoint} holds another training (train-teacher convnet_8 --data digits")
    assert before == (make().path.read_bytes(), stopped.checkpoint.read_bytes())


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "text", "other tensors"])
def test_a_checkpoint_that_cannot_be_read_is_refused_in_words(make: Make, content: bytes | None) -> None:
    if content is None:
        torch.save({"command": make().command, "model": {}}, make().checkpoint)
    else:
        make().checkpoint.write_bytes(content)
    with pytest.raises(RunError, match=r"teacher.safetensors.part cannot be read \(.*\); remove it") as error:
        TeacherTraining(make())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["convnet_9"], "net: 'convnet_9' is not a network; did you mean 'convnet_8'?"),
        (["convnet_8", "--data", "cifar"], "data: 'cifar' is not a data set; did you mean 'cifar10'?"),
        (["convnet_8", "--data", "none"], "data = 'none': a teacher learns from real images; choose: digits, cifar10"),
        (["convnet_8", "--data", "folder:absent"], "there is no val/ or test/ in absent"),
        (["convnet_8", "--epochs", "-1"], "epochs = -1 is out of range; allowed: a whole number 0 to 10,000"),
        (["convnet_8", "--epochs=-1"], "epochs = -1 is out of range; allowed: a whole number 0 to 10,000"),
        (["convnet_8", "--epoch", "3"], "did you mean 'epochs'?"),
        (["convnet_8", "--out", "teacher.pt"], "out = 'teacher.pt' is no name for a teacher; allowed: FILE.safeten"),
        (["convnet_8", "--device", "gpu"], "allowed: auto, cpu, cuda"),
        (["convnet_8", "digits"], "'digits' belongs to no setting"),
        (["--data", "digits"], "train-teacher takes a network"),
        ([], "train-teacher takes a network"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_read(
    more: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "training_set", lambda *_: pytest.fail("read"))
    assert main(["train-teacher", *more]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_shows_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train-teacher", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert not [each.name for each in dataclasses.fields(TeacherSpec) if f"--{each.name}" not in shown]


def test_a_gpu_that_is_not_there_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match="torch sees no such device here"):
        TeacherTraining(make(device="cuda"))


# networks of other kinds


class Plain(nn.Module):
    """A linear classifier without batch norm that takes images of ``places`` values."""

    def __init__(self, channels: int, classes: int, places: int = 256, scale: float = 1.0):
        super().__init__()
        self.fc, self.scale = nn.Linear(channels * places, classes), scale

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.flatten(1)) * self.scale


def test_a_network_without_batch_norm_is_trained_gently(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nets.CLASSIFIERS, "plain", Plain)
    training = TeacherTraining(make(net="plain"))
    assert TeacherTraining(make(net="convnet_8")).lr / training.lr == pytest.approx(10)
    assert "SGD 0.02," in training.description()
    first, last = training
    assert last.loss < first.loss
    assert last.accuracy > 0.5


def test_a_network_that_does_not_fit_the_images_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nets.CLASSIFIERS, "plain", lambda channels, classes: Plain(channels, classes, places=100))
    with pytest.raises(
        SpecError, match=r"'plain' cannot be trained on batches of \d+ images \[1, 16, 16\] \(RuntimeError: mat1"
    ):
        TeacherTraining(make(net="plain"))


def test_a_loss_that_is_not_a_number_ends_the_training_in_words(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nets.CLASSIFIERS, "plain", lambda channels, classes: Plain(channels, classes, scale=math.inf))
    with pytest.raises(RunError, match="epoch 1: the loss is not a number; this recipe does not suit 'plain'"):
        list(TeacherTraining(make(net="plain")))
    assert not make().path.exists()


def test_a_folder_of_images_makes_a_teacher_of_its_classes(make: Make, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for place, name in enumerate(("dark", "light", "medium")):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(8):
                pixels = draw.integers(80 * (0, 2, 1)[place], 80 * (0, 2, 1)[place] + 80, (20, 24, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.png")
    spec = make(data=f"folder:{tmp_path}/images", side=16, epochs=40)
    last = list(TeacherTraining(spec))[-1]
    assert last.accuracy > 0.9
    teacher = teachers.load(spec.out)
    assert (teacher.card.classes, teacher.card.shape) == (3, (3, 16, 16))
    assert f"--data folder:{tmp_path}/images --side 16 --epochs 40" in teacher.card.recipe
    assert "crop 2, flip" in teacher.card.recipe
    train_set = data.training_set(spec.data, (3, 16, 16)).images.float() / 255
    assert torch.tensor(teacher.card.mean) == pytest.approx(train_set.mean((0, 2, 3)), abs=6e-5)
    assert torch.tensor(teacher.card.std) == pytest.approx(train_set.std((0, 2, 3), correction=0), abs=6e-5)
    assert TeacherSpec(data="folder:/far/images").path.name == "images-convnet_32-epochs60-seed0.safetensors"


# its parts


def test_an_epoch_is_the_recipe_step_by_step(make: Make) -> None:
    (epoch,) = TeacherTraining(spec := make(epochs=1))
    split, (mean, std) = data.training_set("digits"), teachers.NORMALIZATIONS["digits"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(nets.classifier("convnet_8", 1, 10), mean, std)
        averaged = {name: value.clone() for name, value in model.net.state_dict().items()}
        momentum = {name: torch.zeros_like(value) for name, value in model.net.named_parameters()}
        losses = []
        for step, rows in enumerate(torch.randperm(1347)[: 5 * 256].view(5, 256), start=1):
            loss = F.cross_entropy(model(CropFlip(1, flip=False)(split.images[rows])), split.labels[rows])
            names, weights_ = zip(*model.net.named_parameters(), strict=True)
            for name, weight, gradient in zip(names, weights_, torch.autograd.grad(loss, weights_), strict=True):
                gradient = gradient + 5e-4 * weight.data * (weight.ndim > 1)
                momentum[name] = 0.9 * momentum[name] + gradient
                weight.data -= SHORT.rate(step / 6, 0.2) * (gradient + 0.9 * momentum[name])
            losses.append(loss.item())
            for name, value in model.net.state_dict().items():
                share = 1 - (1 + step) / (10 + step) if value.is_floating_point() else 1
                averaged[name] = averaged[name] + (share * (value - averaged[name])).to(value.dtype)
    assert epoch.loss == pytest.approx(sum(losses) / 5, rel=1e-5)
    found = weights(spec)
    assert found.keys() == averaged.keys()
    for name, value in averaged.items():
        assert torch.allclose(found[name], value, atol=1e-5), name


def test_weight_decay_spares_norms_and_biases() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 3))
    heavy, light = SHORT.optimizer(model, 0.1).param_groups
    assert [parameter.shape for parameter in heavy["params"]] == [(2, 1, 3, 3), (3, 2)]
    assert [len(group["params"]) for group in (heavy, light)] == [2, 4]
    assert (heavy["weight_decay"], light["weight_decay"]) == (5e-4, 0.0)
    assert heavy["nesterov"]
    assert heavy["momentum"] == 0.9


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    known = {0: 0, 0.05: 0.1, 0.1: 0.2, 0.55: 0.1, 1: 0}
    assert {share: SHORT.rate(share, 0.2) for share in known} == pytest.approx(known)
    rates = [SHORT.rate(share / 100, 1.0) for share in range(101)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_average_moves_by_its_share_and_counts_along() -> None:
    averaged, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    for values in (model.weight.data, model.running_mean):
        values.copy_(torch.tensor([3.0, 5.0]))
    model.num_batches_tracked += 7
    recipes.average(averaged, model, 0.75)
    assert averaged.weight.tolist() == [1.5, 2.0]
    assert averaged.running_mean.tolist() == [0.75, 1.25]
    assert averaged.num_batches_tracked == 7
    assert model.weight.tolist() == [3.0, 5.0]


def test_kernels_repeat_only_while_it_is_asked() -> None:
    before = torch.backends.cudnn.deterministic
    with recipes.deterministic():
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.deterministic == before
