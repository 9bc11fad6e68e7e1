"""References read real images: nobody else gets any, the record says so, and no checkpoint keeps one."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfkd_lab import __main__, data, methods, runs
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.recipe import MethodContext, Recipe
from dfkd_lab.errors import RecipeError, SpecError
from dfkd_lab.methods import METHODS, catalogue
from dfkd_lab.methods.dafl import DAFL
from dfkd_lab.primitives.synthesizers import FixedImages
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec
from widgets import report, wording

MakeRun = Callable[..., Run]
MakeSpec = Callable[..., RunSpec]
REMARK = "uses real images: a reference, not data-free"
REFERENCES = [name for name, method in METHODS.items() if getattr(method, "reads_real_images", False)]
DATA_FREE = [name for name in METHODS if name not in REFERENCES]

every_reference = pytest.mark.parametrize("name", REFERENCES)


def finish(spec: RunSpec) -> RunFolder:
    list(Session(spec))
    return RunFolder(spec.out)


def tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, (dict, list, tuple)):
        for value in state.values() if isinstance(state, dict) else state:
            yield from tensors(value)


def holds_an_image(state: Any, images: Tensor) -> bool:
    """Whether any tensor of ``state`` has one of ``images`` [N, C, H, W] among its rows, as float or as uint8."""
    size = images[0].numel()
    known = {bytes(row) for row in (images * 255).round().to(torch.uint8).flatten(1).numpy()}
    for each in tensors(state):
        if each.numel() % size == 0 and each.dtype in (torch.uint8, torch.float32, torch.float64):
            values = each if each.dtype == torch.uint8 else (each.clamp(0, 1) * 255).round().to(torch.uint8)
            if any(bytes(row) in known for row in values.reshape(-1, size).numpy()):
                return True
    return False


def test_there_are_references() -> None:
    assert {"kd", "alone"} <= set(REFERENCES)
    assert len(DATA_FREE) > len(REFERENCES)


def test_the_training_images_are_none_of_the_held_out_ones(held_out: data.Split) -> None:
    training = data.training_set("digits")
    rows = {bytes(image.numpy()) for image in training.images}
    assert not [place for place, image in enumerate(held_out.images) if bytes(image.numpy()) in rows]
    assert len(training.labels) + len(held_out.labels) == 1797
    with pytest.raises(SpecError, match="'none' is not a data set with training images"):
        data.training_set("none")


# who gets them


@dataclasses.dataclass(frozen=True)
class Wanting(DAFL):
    """DAFL that would learn from real images too."""

    def compose(self, context: MethodContext) -> Recipe:
        return dataclasses.replace(super().compose(context), synthesizer=FixedImages(8))


def test_a_data_free_method_cannot_get_at_them(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec()
    monkeypatch.setitem(methods.METHODS, "dafl", Wanting)
    monkeypatch.setattr(data, "training_set", lambda name: pytest.fail("loaded for a data-free method"))
    with pytest.raises(RecipeError, match="only a reference, declared as such, is given any"):
        Session(spec)


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_may_know_holds_no_data(name: str) -> None:
    assert {each.name for each in dataclasses.fields(MethodContext)} == {
        "teacher", "observer", "shape", "classes", "rounds", "generator_name", "task",
    }  # fmt: skip
    source = catalogue.compose_on_digits(name).synthesizer
    assert isinstance(source, FixedImages) is bool(methods.remark(METHODS[name]))
    if isinstance(source, FixedImages):
        with pytest.raises(RecipeError, match="there are no real images here"):
            source.sample(1)


@every_reference
def test_a_reference_needs_a_data_set(name: str) -> None:
    with pytest.raises(SpecError, match=f"'{name}' learns from real images, and data = 'none' has none; choose: digi"):
        runs.plan(method=name, data="none")


@pytest.mark.parametrize("name", DATA_FREE)
def test_a_data_free_method_needs_none(name: str) -> None:
    assert runs.plan(method=name, data="none").data == "none"


# a few images


def given(run: Run) -> tuple[Tensor, Tensor]:
    source: Any = run.recipe.synthesizer
    return source.images, source.labels


def test_a_few_images_are_drawn_once_by_the_runs_seed_as_many_of_each_class(make_run: MakeRun) -> None:
    images, labels = given(make_run("kd", images=20))
    assert torch.bincount(labels).tolist() == [2] * 10
    assert torch.equal(images, given(make_run("kd", images=20))[0])
    assert not torch.equal(images, given(make_run("kd", images=20, seed=1))[0])
    training = data.training_set("digits").images
    assert len(given(make_run("kd"))[0]) == len(training)
    known = {bytes(image.numpy()) for image in training}
    assert all(bytes(image.numpy()) in known for image in images)


def test_more_images_than_there_are_take_all(make_run: MakeRun) -> None:
    assert len(given(make_run("kd", images=5000))[0]) == 1347


# what the record says


@every_reference
def test_the_record_says_that_real_images_were_used(
    make_spec: MakeSpec, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = finish(make_spec(method=name))
    seal = folder.seal()
    assert seal["data_free"] is False
    assert [session["data_free"] for session in seal["sessions"]] == [False]
    assert seal["sessions"][0]["violations"] == []
    assert seal["real_images"]["name"] == "digits"
    assert seal["real_images"]["n"] == 1347
    assert len(seal["real_images"]["images_sha256"]) == 64
    assert seal["real_images"]["images_sha256"] != folder.manifest()["evaluation"]["images_sha256"]
    assert f"({REMARK}) run {folder.path}" in runs.summary(folder)
    assert __main__.main(["list", str(folder.path.parent)]) == __main__.main(["compare", str(folder.path)]) == 0
    assert capsys.readouterr().out.count(f"{folder.name} {REMARK}") == 2
    page = report.page(folder)
    assert f"This run {REMARK}." in page
    assert "was given 1,347 real images of digits: it is a reference, not data-free" in page
    assert "read no real data" not in page
    assert "Synthetic images" not in page
    assert REMARK in wording.described(name)


def test_a_data_free_run_says_nothing_of_the_kind(make_spec: MakeSpec, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finish(make_spec())
    assert "real_images" not in folder.seal()
    assert runs.remark(folder) == ""
    __main__.main(["list", str(folder.path.parent)])
    shown = [runs.summary(folder), report.page(folder), wording.described("dafl"), capsys.readouterr().out]
    assert not [text for text in shown if "a reference, not" in text or "uses real" in text]


def test_a_folder_without_a_manifest_or_of_an_unknown_method_has_no_remark(tmp_path: Path) -> None:
    assert runs.remark(RunFolder(tmp_path)) == ""
    (tmp_path / "manifest.json").write_text('{"method": {"name": "of another version"}}')
    assert runs.remark(RunFolder(tmp_path)) == ""


@every_reference
def test_no_checkpoint_holds_a_real_image(make_spec: MakeSpec, name: str) -> None:
    folder = finish(make_spec(method=name))
    state = torch.load(folder.path / "checkpoint.pt", weights_only=True)
    images = data.training_set("digits").images
    assert sum(each.numel() for each in tensors(state)) > 1000
    assert not holds_an_image(state, images)
    for kept in (images[5:8], (images[5:8] * 255).round().to(torch.uint8)):
        assert holds_an_image({**state, "kept": [kept]}, images)


def test_a_stopped_reference_continues_with_the_same_images(make_spec: MakeSpec) -> None:
    first = Session(make_spec(method="kd", rounds=3, out="stopped", settings={"images": 20}))
    for _ in first:
        first.stop()
    resumed = finish(make_spec(method="kd", rounds=3, out="stopped", settings={"images": 20}))
    whole = finish(make_spec(method="kd", rounds=3, out="whole", settings={"images": 20}))
    both = [(folder.path / "student.safetensors").read_bytes() for folder in (resumed, whole)]
    assert both[0] == both[1]
    assert resumed.seal()["data_free"] is False
