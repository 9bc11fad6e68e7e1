"""Runs whose teacher labels every pixel, from the command line to the report."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dfkd_lab import METHODS, RunFolder, Session, data, nets, plan, register_filling, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.segmentation import Segmentation
from dfkd_lab.errors import DamagedFile, SpecError
from dfkd_lab.methods import certainty
from dfkd_lab.runs import contents, maps, records
from dfkd_lab.runs.folder import default_folder
from dfkd_lab.spec import setting
from dfkd_lab.teachers import dense
from dfkd_lab.teachers.teacher_spec import TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining
from tests.support import events_of, tiny
from widgets import figures, report, sample_grid

DENSE = ("dfad", "dafl", "fast", "ssd_kd", "noise", "untrained", "kd", "alone")
"""Methods that have settings for a class a pixel."""
QUICK = ("dafl", "ssd_kd", "kd")
"""A game, a buffer and real images: those of these that run twice in every run of the tests."""
WHOLE = ("cgdd", "nayer", "deepinversion", "spaceshipnet", "fssc", "mb_dfkd", "pre_dfkd")
"""Methods that need a class of the whole image, or features of a linear layer."""
OTHERS = ("cmi", "ddad", "dfad_ar_vi", "dfq", "mad", "zskt")
"""Methods that have no such settings, and need nothing of the kind."""
SHAPE, CLASSES = (1, 32, 32), 11


@pytest.fixture
def settings(scenes_teacher: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``settings(method, ...)`` of a tiny run."""

    def make(method: str, out: str = "run", **more: Any) -> dict[str, Any]:
        given = {"method": method, "teacher": scenes_teacher, "student": "unet_8", "data": "scenes", "rounds": 3}
        still = {name: value for name, value in {"padding": 0, "flip": False}.items() if name in tiny(method)}
        sizes = {**tiny(method), **still, "batch": 4, "checkpoint_s": 0.0}
        return {**given, **sizes, "out": str(tmp_path / out), "preset": "segmentation", **more}

    return make


def student(folder: RunFolder) -> bytes:
    return (folder.path / "student.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in DENSE]
)
def test_a_dense_run_is_measured_by_miou_and_goes_on_bit_for_bit(
    settings: Callable[..., dict[str, Any]], method: str
) -> None:
    whole = Session(plan(**settings(method, "whole")))
    list(whole)
    last = events_of(whole.folder)[-1]
    assert last["metric"] == "mIoU"
    assert len(last["details"]["iou"]) == CLASSES
    assert 0 <= last["accuracy"] < 1
    assert sum(last["shares"]["teacher"]) == pytest.approx(1, abs=1e-3)
    part = Session(plan(**settings(method)))
    for each in part:
        if each.round == 2:
            part.stop()
    list(Session(plan(**settings(method))))
    assert student(RunFolder(settings(method)["out"])) == student(whole.folder)


def test_a_method_is_certain_where_its_paper_labels_pixels(settings: Callable[..., dict[str, Any]]) -> None:
    for method in DENSE:
        said = records.of_plan(plan(**settings(method, out="")).spec, "segmentation")["method"]["certainty"]
        assert said.startswith("certain") is (method in ("dfad", "kd", "alone")), method
    whole = {name: certainty(method) for name, method in METHODS.items()}
    assert whole == {name: method.certainty for name, method in METHODS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHERS)
def test_a_method_without_settings_for_pixels_runs_all_the_same(
    settings: Callable[..., dict[str, Any]], method: str
) -> None:
    composed = plan(**settings(method, preset="paper", data="none", rounds=2)).take()
    reports = list(Run(composed))
    assert [each.round for each in reports] == [1, 2]
    assert {each.metric for each in reports} == {"mIoU"}, "also where nothing is measured"


def test_the_class_that_was_asked_for_is_none_of_a_pixel(settings: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(SpecError, match=r"modulate = 'target' goes by .* every pixel has a class; allowed: 'confiden"):
        plan(**settings("ssd_kd", modulate="target"))


@pytest.mark.parametrize("method", WHOLE)
def test_what_needs_a_class_of_the_whole_image_is_refused(settings: Callable[..., dict[str, Any]], method: str) -> None:
    with pytest.raises(SpecError, match=r"this teacher labels every pixel; .*choose a method"):
        plan(**settings(method, preset="paper"))


def test_misfits_are_refused_before_anything_is_done(
    settings: Callable[..., dict[str, Any]], scenes_teacher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError, match=r"student: 'convnet_8' .*classif"):
        plan(**settings("ssd_kd", student="convnet_8"))
    with pytest.raises(SpecError, match="student: 'unet_8'"):
        plan(method="ssd_kd", student="unet_8", rounds=1)
    with pytest.raises(SpecError, match=r"data = 'digits' has a class for an image, and teacher = .* one for a pixel"):
        plan(**settings("ssd_kd", data="digits"))
    with pytest.raises(SpecError, match=r"cache_views = 2 .* labels every pixel .* allowed: 0"):
        plan(**settings("ssd_kd", cache_views=2))
    with pytest.raises(SpecError, match=r"the student's view moves images, .* allowed: padding = 0 and flip = False"):
        plan(**settings("alone", padding=2))
    assert main(["run", "ssd_kd", "--data", "scenes", "--student", "convnet_8"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_maps_are_kept_shown_and_reported(
    settings: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = settings("ssd_kd")
    out = given.pop("out")
    words = [word for name, value in given.items() if name != "method"
             for word in (f"--{name.replace('_', '-')}", str(value))]  # fmt: skip
    assert main(["run", "ssd_kd", *words, "--out", out]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("student mIoU 0.")
    assert "round 3 of 3: mIoU 0." in said.err
    folder = RunFolder(out)
    png, facts = sample_grid.read(folder.samples()[3])
    assert facts is not None
    assert facts["legend"][0] == {"name": "background", "color": [68, 68, 68]}
    assert [each["name"] for each in facts["legend"]][1:] == list("0123456789")
    with Image.open(folder.samples()[3]) as grid:
        assert grid.size == (3 * 32 + 2 * maps.GAP, 4 * 32 + 3 * maps.GAP)
    shown = sample_grid.html(png, facts)
    assert shown.count("rgb(") == CLASSES
    assert "width: min(100%, 200px)" in shown, "100 pixels, enlarged a whole number of times"
    assert "the teacher's map, the student's map; they agree on" in sample_grid.caption(3, facts)
    page = report.page(folder)
    assert "student mIoU, last round" in page
    assert "accuracy, last round" not in page
    lines = figures.curves(folder.reports(), 0.5).data
    assert "student mIoU" in [line.name for line in lines]
    assert folder.result()["metric"] == "mIoU"


def test_what_a_preset_brings_is_no_replacement(settings: Callable[..., dict[str, Any]]) -> None:
    spec = plan(**settings("ssd_kd", out="")).spec
    assert spec.terms == "balance=11.5"
    assert default_folder(spec).name == "ssd_kd-unet-unet_8-seed0"
    asked = plan(**settings("ssd_kd", out="", terms="balance=3")).spec
    assert default_folder(asked).name.startswith("ssd_kd+terms_balance=3")


def test_a_damaged_legend_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "round_0000001.json"
    for text in ('{"legend": 3}', '{"legend": [{"name": 3}]}', '{"rows": 1}', "[1]"):
        file.write_text(text)
        with pytest.raises(DamagedFile, match=r"is damaged \(.*\); remove it, and the grid is shown without"):
            contents.sample(file)


def test_colors_are_many_and_different() -> None:
    made = maps.colors(40)
    assert len(set(made)) == 40
    assert made[:11] == list(maps.FIRST)


def test_a_crop_takes_image_and_labels_alike() -> None:
    labels = torch.arange(2 * 6 * 8).view(2, 6, 8)
    images = labels[:, None].float()
    torch.manual_seed(0)
    for flip in (False, True):
        piece, marks = dense.crop(images, labels, (3, 4), flip)
        assert torch.equal(piece[:, 0].long(), marks)
        assert piece.shape == (2, 1, 3, 4)
        steps = marks[:, :, 1:] - marks[:, :, :-1]
        assert ((steps == 1) | ((steps == -1) & flip)).all()


def test_thin_classes_weigh_more() -> None:
    labels = torch.zeros(1, 20, 20, dtype=torch.uint8)
    labels[0, 0, 0], labels[0, 10:], labels[0, 1] = 1, 2, 255
    split = data.Split(labels[:, None], labels, ("a", "b", "c"), ignore=255)
    weights = dense.class_weights(split)
    assert weights is not None
    assert float(weights.mean()) == pytest.approx(1)
    assert weights[1] > weights[0] >= weights[2] * 0.9
    labels[0, :5] = 1
    assert dense.class_weights(split) is None


@pytest.mark.slow
def test_a_dense_teacher_is_trained_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = TeacherSpec("unet_8", "scenes", epochs=1, device="cpu", out=str(tmp_path / "t.safetensors"))
    training = TeacherTraining(spec)
    training.per_epoch = 6
    for _ in training:
        pass
    teacher = teachers.load(spec.out)
    assert (teacher.card.task, teacher.card.classes, teacher.card.shape) == ("segmentation", CLASSES, SHAPE)
    assert "AdamW 0.004" in teacher.card.recipe
    assert "mIoU 0." in teacher.card.recipe
    assert main(["teachers", spec.out]) == 0
    assert "accuracy           mIoU 0." in capsys.readouterr().out
    facts = json.loads(json.dumps(dataclasses.asdict(teacher.card)))
    assert facts["class_names"][:2] == ["background", "0"]


def test_pieces_are_drawn_once_and_leave_random_numbers_alone() -> None:
    labels = torch.arange(2 * 40 * 50).view(2, 40, 50).to(torch.int32)
    split = data.Split(labels[:, None].to(torch.uint8), labels, ignore=255)
    before = torch.get_rng_state()
    one, other = (dense.pieces(split, (1, 16, 16)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.labels, other.labels)
    assert one.images.shape == (2, 1, 16, 16)
    assert dense.pieces(one, (1, 16, 16)) is one
    assert Segmentation.metric == "mIoU"
    assert {*METHODS} == {*DENSE, *WHOLE, *OTHERS}
    assert set(DENSE) == {name for name, each in METHODS.items() if "segmentation" in each.presets}


@pytest.mark.parametrize("net", ["unet_24", "unet_8"])
def test_a_bare_file_of_a_segmenter_is_found_by_its_tensors(net: str, tmp_path: Path) -> None:
    weights, file = nets.classifier(net, 1, CLASSES).state_dict(), tmp_path / "bare.pth"
    for stored in (weights, {f"module.{name}": weights[name] for name in sorted(weights)}):
        torch.save(stored, file)
        card = teachers.load(str(file), data="scenes").card
        assert (card.net, card.classes, card.task, card.shape) == (net, CLASSES, "segmentation", SHAPE)


def test_a_bare_file_of_large_images_is_taught_at_the_size_of_their_crops(tmp_path: Path) -> None:
    torch.save(nets.classifier("deeplabv3_mobilenet_v2", 3, CLASSES).state_dict(), file := tmp_path / "bare.pth")
    card = teachers.find(str(file), "camvid").card
    assert (card.net, card.classes, card.task) == ("deeplabv3_mobilenet_v2", CLASSES, "segmentation")
    assert card.shape == (3, 128, 128)


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["ring", "priority"])
def test_a_buffer_keeps_real_images_and_not_the_classes_of_their_pixels(
    settings: Callable[..., dict[str, Any]], memory: str
) -> None:
    session = Session(plan(**settings("kd", memory=memory, rounds=2)))
    assert [each.round for each in session] == [1, 2]
    with pytest.raises(SpecError, match="'student_label' needs the target class, and the images that"):
        plan(**settings("alone", memory=memory))


class Darkened:
    """A view of one's own."""

    moves: bool

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images * 0.9


@pytest.mark.parametrize("word", ["resized_crop", "crop_flip:padding=1", "own"])
def test_classes_of_pixels_stay_where_they_are_so_no_view_may_move_images(
    settings: Callable[..., dict[str, Any]], word: str
) -> None:
    register_filling("student_view", "own", DarkenedFilling)
    with pytest.raises(SpecError, match=r"the student's view moves images, .* stay; allowed: .*student_view = 'ident"):
        plan(**settings("alone", student_view=word))
    plan(**settings("kd", student_view=word))


@dataclasses.dataclass(frozen=True)
class DarkenedFilling:
    still: bool = setting(False, "whether it says that images stay where they are")

    def __call__(self, context: Any, recipe: Any) -> Darkened:
        view = Darkened()
        if self.still:
            view.moves = False
        return view


def test_a_view_that_says_so_moves_nothing(settings: Callable[..., dict[str, Any]]) -> None:
    register_filling("student_view", "own", DarkenedFilling)
    plan(**settings("alone", student_view="own:still=true"))
