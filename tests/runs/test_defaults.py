"""Settings that nobody named follow from preset, data, teacher and student; what somebody named stays."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from dfkd_lab import METHODS, RunFolder, Session, SpecError, nets, plan, teachers
from dfkd_lab.runs import older
from dfkd_lab.runs.folder import prepare
from dfkd_lab.runs.planning import resolve, settled
from dfkd_lab.spec import setting_type, settings_of

MNIST = {"data": "mnist", "student": "lenet5_half"}


@pytest.fixture
def no_norm(tmp_path: Path) -> str:
    """A teacher of gray images without batch norm, of which nothing but its shape is known."""
    torch.manual_seed(0)
    return teachers.adopt("plain", nets.classifier("lenet5", 1, 10), (1, 28, 28), 10, "mnist", tmp_path)


@pytest.fixture
def wrn(tmp_path: Path) -> str:
    """A teacher by the name of one that FastDFKD's paper gives weights for."""
    torch.manual_seed(0)
    return str(saved(tmp_path, "wrn40_2"))


def saved(folder: Path, net: str) -> Path:
    card = teachers.Card(net, 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3, data="cifar10", recipe="none")
    path = folder / f"{net}.safetensors"
    teachers.save(teachers.student_of(card, net), card, path)
    return path


def gray_normed(folder: Path) -> str:
    return teachers.adopt("normed", nets.classifier("convnet_8", 1, 10), (1, 28, 28), 10, "mnist", folder)


# the student's rates


def test_a_student_without_batch_norm_learns_by_adam(no_norm: str) -> None:
    resolved = plan(MNIST, method="kd", teacher=no_norm)
    assert (resolved.optimizer, resolved.s_lr) == ("adam", 4e-3)
    schedule = resolved.composed.recipe.schedule
    assert (schedule.optimizer, schedule.s_lr, schedule.weight_decay) == ("adam", 4e-3, 0)
    assert resolved.notes == [
        "the student 'lenet5_half' has no batch norm: adam at s_lr = 0.004, where the preset has sgd at 0.1"
    ]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, ("sgd", 0.1)),
        ({"optimizer": "adam"}, ("adam", 2e-3)),
        ({"optimizer": "adam", "s_lr": 0.5}, ("adam", 0.5)),
        ({"student": "lenet5_half", "optimizer": "sgd"}, ("sgd", 0.02)),
        ({"student": "lenet5_half", "s_lr": 0.3}, ("adam", 0.3)),
        ({"method": "zskt", "optimizer": "sgd"}, ("sgd", 0.1)),
        ({"method": "dafl", "optimizer": "sgd"}, ("sgd", 0.1)),
        ({"method": "dafl", "student": "lenet5_half", "optimizer": "sgd"}, ("sgd", 0.02)),
        ({"student": "lenet5_half", "method": "zskt"}, ("adam", 2e-3)),
        ({"student": "lenet5_half", "method": "dfad"}, ("sgd", 0.01)),
        ({"student": "lenet5_half", "method": "dafl"}, ("adam", 2e-3)),
    ],
    ids=str,
)
def test_who_names_an_optimizer_or_a_rate_gets_it(
    asked: dict[str, Any], wanted: tuple[str, float], no_norm: str
) -> None:
    resolved = plan({"method": "kd", "data": "mnist", "teacher": no_norm, **asked})
    assert (resolved.optimizer, resolved.s_lr) == wanted
    assert resolved.composed.recipe.schedule.optimizer == wanted[0]


def test_a_run_of_it_learns_and_goes_on_where_it_stopped(no_norm: str, tmp_path: Path) -> None:
    given = {**MNIST, "method": "noise", "teacher": no_norm, "data": "none", "rounds": 2, "s_steps": 3, "batch": 8}
    whole = RunFolder(tmp_path / "whole")
    list(Session(plan(given, out=str(whole.path))))
    stopped = Session(plan(given, out=str(tmp_path / "stopped")))
    for _ in stopped:
        stopped.stop()
    again = RunFolder(tmp_path / "stopped")
    assert again.spec().optimizer == "adam"
    assert "adam at s_lr = 0.004" in again.manifest()["notes"][0]
    list(Session(resolve(again.spec())))
    assert "adam at s_lr = 0.004" in again.manifest()["notes"][0]
    assert (again.path / "student.safetensors").read_bytes() == (whole.path / "student.safetensors").read_bytes()


def test_who_names_a_rate_is_told_of_the_optimizer_and_adam_has_no_weight_decay(no_norm: str) -> None:
    given = {**MNIST, "teacher": no_norm}
    assert plan(given, method="kd", s_lr=0.3).notes == [
        "the student 'lenet5_half' has no batch norm: adam at s_lr = 0.3, where the preset has sgd"
    ]
    resolved = plan(given, method="dfad", optimizer="adam", weight_decay=0.01)
    assert resolved.weight_decay == 0
    assert "weight_decay = 0.01 is SGD's: with Adam it is 0" in resolved.notes
    assert resolve(resolved.spec).notes == []


def test_what_was_decided_is_said_in_a_folder_that_is_only_prepared(no_norm: str, tmp_path: Path) -> None:
    given = {**MNIST, "method": "noise", "teacher": no_norm, "data": "none", "rounds": 1, "s_steps": 1, "batch": 8}
    folder = prepare(plan(given, out=str(tmp_path / "run")))
    assert "adam at s_lr = 0.004" in folder.notes()[0]
    list(Session(folder.spec()))
    assert folder.manifest()["notes"] == folder.notes() != []


# a teacher without statistics


@pytest.mark.parametrize("method", ["fast", "ssd_kd", "nayer", "cgdd", "mad", "deepinversion", "dfq", "ddad"])
def test_a_teacher_without_statistics_gets_other_losses_for_them(method: str, no_norm: str) -> None:
    resolved = plan(MNIST, method=method, teacher=no_norm)
    assert resolved.bn_gap == 0
    assert any("the teacher keeps no batch-norm statistics: bn_gap = 0" in each for each in resolved.notes)
    losses = {name: each.weight for name, each in resolved.composed.recipe.losses.items()}
    assert losses["balance"] == (20 if method == "dfq" else 5)
    assert losses["activation"] == 0.1
    assert resolve(resolved.spec).spec == resolved.spec  # the record says all of it


def test_who_asks_for_statistics_by_name_is_refused(no_norm: str) -> None:
    with pytest.raises(SpecError, match="'bn_gap' reads the teacher's batch-norm layers, and this teacher has none"):
        plan(MNIST, method="fast", teacher=no_norm, bn_gap=5)
    assert plan(MNIST, method="fast", teacher=no_norm, bn_gap=0).terms == ""
    terms = plan(MNIST, method="fast", teacher=no_norm, terms="balance=2").terms
    assert terms == "balance=2,activation=0.1"


def test_batch_norms_that_keep_nothing_count_as_none(tmp_path: Path) -> None:
    net = nets.classifier("convnet_8", 1, 10)
    for layer in [each for each in net.modules() if isinstance(each, nn.BatchNorm2d)]:
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        layer.track_running_stats = False
    teacher = teachers.adopt("forgetful", net, (1, 16, 16), 10, "digits", tmp_path)
    assert plan(method="fast", teacher=teacher, preset="digits").bn_gap == 0


def test_a_teacher_without_a_linear_layer_is_not_asked_what_that_is_given(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    teacher = teachers.adopt("headless", net, (1, 16, 16), 10, "digits", tmp_path)
    assert plan(method="fast", teacher=teacher, preset="digits").terms == "balance=5"
    with pytest.raises(SpecError, match=r"'activation' reads what the teacher's linear layer is given.*activation=0'"):
        plan(method="dafl", teacher=teacher, preset="digits")


# families


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_settings_for_small_gray_images(method: str) -> None:
    assert "small_gray" in METHODS[method].presets


@pytest.mark.parametrize(("data", "mirrors"), [("mnist", False), ("svhn", False), ("cifar10", True), ("digits", False)])
def test_data_that_mean_something_else_in_a_mirror_are_never_mirrored(data: str, mirrors: bool, tmp_path: Path) -> None:
    teacher = {"digits": "digits", "mnist": gray_normed(tmp_path)}.get(data) or str(saved(tmp_path, "resnet8"))
    for method in METHODS:
        given = {"method": method, "data": data, "teacher": teacher, "student": "convnet_8"}
        settings = settled(given).settings
        for name in {"flip"} & settings.keys():
            assert settings[name] is mirrors
            assert settled({**given, name: True}).settings[name] is True


def test_no_borrowed_view_mirrors_such_data_unless_it_is_said(no_norm: str) -> None:
    given = {**MNIST, "method": "dafl", "teacher": no_norm}
    recipe: Any = plan(given, student_view="crop_flip", view="roll").composed.recipe
    assert (recipe.student_view.flip, recipe.view.flip) == (False, False)
    recipe = plan(given, student_view="crop_flip:flip=true").composed.recipe
    assert recipe.student_view.flip is True
    borrowed = plan(method="dafl", data="none", preset="svhn", student_view="crop_flip")
    again = resolve(borrowed.spec)
    flips = [each.composed.recipe.student_view.flip for each in (borrowed, again)]  # type: ignore[attr-defined]
    assert flips[0] is flips[1]
    named = plan(method="fast", data="none", preset="svhn")
    assert (named.flip, named.notes) == (False, ["preset 'cifar' is what fast has for 'svhn'"])


@pytest.mark.parametrize("method", ["dfad", "dafl", "ssd_kd", "deepinversion"])
def test_a_folder_of_an_older_version_goes_on_with_what_it_did(method: str, tmp_path: Path) -> None:
    resolved = plan(method=method, preset="digits", data="none", out=str(tmp_path / "run"), rounds=1)
    prepare(resolved)
    path = tmp_path / "run" / "spec.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["settings"] = {name: value for name, value in spec["settings"].items() if name not in older.ADDED}
    path.write_text(yaml.safe_dump({name: value for name, value in spec.items() if name != "optimizer"}))
    folder = RunFolder(tmp_path / "run")
    again = folder.spec()
    assert again.optimizer == "sgd"
    assert resolve(again).spec == again
    did: dict[str, dict[str, Any]] = {"dfad": {"decay": "cosine", "weight_decay": 5e-4}, "dafl": {"decay": "cosine"}}
    assert did.get(method, {}).items() <= again.settings.items()
    assert [each for each in folder.passed_over() if "begun by an older version" in each] == [
        f"begun by an older version; from here on {older.MENDED[each]}" for each in older.MENDED if each == method
    ]


def test_large_images_are_recognised_by_their_size(tmp_path: Path) -> None:
    card = teachers.Card("resnet8", 10, (3, 128, 128), (0.5,) * 3, (0.25,) * 3, recipe="none")
    path = tmp_path / "large.safetensors"
    teachers.save(teachers.student_of(card, "resnet8"), card, path)
    given = {"teacher": str(path), "student": "resnet8", "data": "none", "batch": 4}
    resolved = plan(given, method="dfad")
    assert (resolved.preset, resolved.generator, resolved.s_lr) == ("imagenet", "dcgan", 0.05)
    assert plan(given, method="dafl").preset == "paper"
    with pytest.raises(
        SpecError, match="preset = 'imagenet': neither dafl's paper nor its code says what suits; paper"
    ):
        plan(given, method="dafl", preset="imagenet")


# a teacher that the paper has weights for


@pytest.mark.parametrize("method", ["fast", "ssd_kd"])
def test_the_papers_weights_follow_the_teacher(method: str, wrn: str) -> None:
    given = {"method": method, "teacher": wrn, "student": "resnet8", "data": "cifar10"}
    assert (plan(given).gap, plan(given).label) == (1.1, 0.4)
    assert (plan(given, gap=3).gap, plan(given, preset="digits").gap) == (3, 1.33)


def test_what_is_mirrored_is_a_setting_of_some_methods() -> None:
    assert {name for name in METHODS if "mirror" in settings_of(METHODS[name])} == {"deepinversion"}


def test_a_warm_up_that_takes_most_of_the_rounds_is_said() -> None:
    assert plan(method="ssd_kd", rounds=5, warm_up=4).notes == ["the student learns in 1 of 5 rounds, as warm_up = 4"]
    assert plan(method="ssd_kd", rounds=3, warm_up=4).notes == ["the student learns in 0 of 3 rounds, as warm_up = 4"]
    assert plan(method="ssd_kd", rounds=8, warm_up=4).notes == []


@pytest.mark.parametrize(
    ("method", "asked", "told"),
    [
        ("ssd_kd", {"priority": False, "alpha": 0.9}, ["alpha = 0.9 has no effect with priority = False"]),
        ("ssd_kd", {"priority": False, "difficulty": False}, []),
        ("ssd_kd", {"alpha": 0.9, "gamma": 1.0, "bn_momentum": 0.5}, []),
        ("cgdd", {"adversarial": False, "gap": 2}, ["gap = 2.0 has no effect with adversarial = False"]),
        ("fast", {"bn_gap": 0, "bn_momentum": 0.5}, ["bn_momentum = 0.5 has no effect with bn_gap = 0.0"]),
        ("fast", {"bn_gap": 0, "bn_momentum": 0.5, "terms": "bn_gap=3"}, []),
        ("pre_dfkd", {"z_steps": 0, "z_lr": 1}, ["z_lr = 1.0 has no effect with z_steps = 0"]),
    ],
    ids=str,
)
def test_what_somebody_names_without_effect_is_said(method: str, asked: dict[str, Any], told: list[str]) -> None:
    resolved = plan(asked, method=method)
    assert resolved.notes == told
    assert resolve(resolved.spec).notes == []


def test_what_a_setting_is_of_is_a_switch_a_weight_or_a_number_of_steps_of_the_same_method() -> None:
    for method in METHODS.values():
        for name, facts in settings_of(method).items():
            of = facts.metadata["of"]
            assert not of or setting_type(method, of) is not str, f"{method.__name__}.{name}"
