"""What the views show of a run whose networks label every pixel, and of no other run."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

import widgets.samples
from dfkd_lab import RunFolder, Session, nets, plan, teachers
from dfkd_lab.engine.report import Report
from dfkd_lab.runs import maps, samples
from dfkd_lab.spec import record
from tests.widgets.test_pictures import pixels, where
from widgets import class_figures, compare, confusion, figures, live, pictures, report, sample_grid, sample_maps, views
from widgets.choice import Choice
from widgets.compare.groups import Run
from widgets.pressable import markup

NAMES = ["background", *"0123456789"]


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory, scenes_teacher: str) -> RunFolder:
    """A finished run of two tiny rounds; tests only read it."""
    sizes = {"rounds": 2, "cycles": 1, "batch": 8, "width": 8, "z_dim": 8, "evaluate_every": 1, "device": "cpu"}
    out = tmp_path_factory.mktemp("runs") / "dense"
    pair = {"teacher": scenes_teacher, "student": "unet_8", "data": "scenes"}
    session = Session(plan(method="dafl", **pair, **sizes, out=str(out)))
    list(session)
    return session.folder


def test_colors_have_the_names_of_the_data_where_the_teacher_has_none(
    tmp_path: Path, scenes_teacher: str, dense: RunFolder
) -> None:
    torch.save(teachers.load(scenes_teacher).model.net.state_dict(), tmp_path / "bare.pth")
    values = {**record(dense.spec()), "teacher": f"unet_8@{tmp_path / 'bare.pth'}", "normalization": "scenes"}
    session = Session(plan({**values, "rounds": 1, "out": str(tmp_path / "run")}))
    list(session)
    facts = json.loads(session.folder.samples()[1].with_suffix(".json").read_text())
    assert [each["name"] for each in facts["legend"]] == NAMES
    assert session.folder.manifest()["teacher"]["class_names"] == NAMES


def evaluated(iou: list[float | None], round: int = 1) -> Report:
    details = {"mIoU": 0.5, "iou": iou, "without_first": 0.4, "pixel_accuracy": 0.9}
    shares = {"teacher": [0.5, 0.3, 0.2], "student": [0.9, 0.1, 0.0]}
    return Report(round, 3, {}, {}, {}, [], 0.5, metric="mIoU", details=details, shares=shares)


def test_the_last_evaluation_is_shown_by_class_beside_the_teacher() -> None:
    later = Report(
        2, 3, {}, {}, {}, [], None, metric="mIoU", shares={"teacher": [0.4, 0.4, 0.2], "student": [1.0, 0.0]}
    )
    figure = class_figures.by_class([evaluated([0.9, 0.1, None]), later], ["sky", "road"], [0.95, 0.5, 0.4])
    student, teacher, student_share, teacher_share = figure.data
    assert student.y == pytest.approx([0.9, 0.1, math.nan], nan_ok=True)
    assert teacher.y == pytest.approx([0.95, 0.5, 0.4])
    assert (student_share.y[0], teacher_share.y[0]) == pytest.approx((1.0, 0.4)), "of the newest round"
    assert figure.layout.xaxis.ticktext == ("sky", "road", "2")
    assert figure.layout.annotations[0].text == "evaluation images, round 1"
    assert all(axis.title.text for axis in figure.select_yaxes())
    assert [trace.name for trace in figure.data if trace.showlegend] == ["student", "teacher"], (
        "one legend for both panels"
    )
    assert (figure.layout.legend.yref, figure.layout.legend.y) == ("container", 0), "at the edge, below slanted names"
    gap = figure.layout.xaxis2.domain[0] - figure.layout.xaxis.domain[1]
    assert gap * (480 - 68) > 70, "px for the title and labels of the right panel where a page is narrow"


def test_before_the_first_evaluation_it_says_what_will_come() -> None:
    assert class_figures.by_class([]).layout.annotations[-1].text == class_figures.NO_MAPS
    assert pictures.png(class_figures.by_class([]))


def test_a_picture_names_bars_and_slants_long_names() -> None:
    figure = class_figures.by_class([evaluated([0.9, 0.5, 0.5])], ["background", "car", "road"])
    straight = pixels(go.Figure(figure).update_xaxes(tickangle=None))
    assert not np.array_equal(pixels(figure), straight)
    blue = where(straight, figures.COLORS[0])[:, 0]
    assert blue.max() > blue.min() + 200, "a patch of the color stands in the legend, below the bars"


def test_a_segmentation_has_its_classes_and_their_confusion_apart(dense: RunFolder, finished: RunFolder) -> None:
    shown = live.Live()
    shown.attach(dense)
    shown.refresh()
    assert shown.view.options[-2:] == (views.BY_CLASS, views.CONFUSION)
    shown.view.value = views.BY_CLASS
    assert list(shown.chart.figure["layout"]["xaxis"]["ticktext"]) == NAMES
    shown.attach(finished)
    shown.refresh()
    assert views.CONFUSION not in shown.view.options
    assert shown.view.value == views.BY_CLASS
    assert shown.chart.figure["layout"]["annotations"][-1]["text"] == confusion.NOT_EXAMINED
    shown.close()


def test_report_and_manifest_have_the_classes(dense: RunFolder, finished: RunFolder) -> None:
    teacher = dense.manifest()["teacher"]
    assert teacher["class_names"] == NAMES
    assert len(teacher["iou"]) == len(NAMES)
    assert "<h2>Classes</h2>" in report.page(dense)
    assert "<h2>Classes</h2>" not in report.page(finished)
    kept = teachers.kept_measurement(teachers.load(dense.spec().teacher), "scenes")
    assert kept is not None
    assert kept.row()["iou"] == teacher["iou"]


def test_runs_are_compared_by_class(dense: RunFolder, finished: RunFolder) -> None:
    (each,) = compare.group([dense])
    (bars,) = compare.by_class([each]).data
    assert bars.y == pytest.approx(dense.reports()[-1].details["iou"])
    assert compare.by_class([each]).layout.xaxis.ticktext == tuple(NAMES)
    assert "mIoU, last round" in compare.results([each])
    assert compare.overlay([each]).layout.yaxis.title.text == "mIoU"
    both = compare.group([dense, finished])
    assert "accuracy or mIoU, last round" in compare.results(both)
    assert len(compare.by_class(both).data) == 1
    assert not compare.by_class(compare.group([finished])).data


def test_still_pages_have_the_classes_of_a_segmentation(
    dense: RunFolder, finished: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(figures, "show", drawn.append)
    compare.Compare(dense.path.parent, live=False)._ipython_display_()
    assert len(drawn) == 3
    drawn.clear()
    compare.Compare(finished.path.parent, live=False)._ipython_display_()
    assert len(drawn) == 2


def test_students_are_offered_that_do_what_the_teacher_does(tmp_path: Path, scenes_teacher: str) -> None:
    choice = Choice(lambda: None, tmp_path)
    student = choice.run_form.fields["student"].control
    assert set(student.options) == set(nets.CLASSIFIERS)
    choice.run_form.fields["teacher"].control.value = scenes_teacher
    assert set(student.options) == set(nets.SEGMENTERS)
    choice.run_form.fields["data"].control.value = "scenes"
    student.value = "unet_12"
    assert choice.problem == ""
    choice.run_form.fields["teacher"].control.value = "digits"
    assert set(student.options) == set(nets.CLASSIFIERS)
    choice.close()


def test_a_note_on_a_setting_has_its_name_as_it_is(tmp_path: Path, scenes_teacher: str) -> None:
    choice = Choice(lambda: None, tmp_path)
    for name, value in (("method", "fast"), ("teacher", scenes_teacher), ("data", "scenes"), ("student", "unet_12")):
        choice.run_form.fields[name].control.value = value
    assert choice.problem == ""
    assert "terms = balance" in choice.ahead.value
    assert "Terms" not in choice.ahead.value
    choice.close()


def test_a_row_of_a_grid_is_enlarged_with_the_pixels_that_each_network_gives_to_a_class(tmp_path: Path) -> None:
    images = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).byte()
    teacher = torch.zeros(2, 4, 5, dtype=torch.long)
    student = teacher.clone()
    teacher[1, 0], student[1, 0, 0] = 2, 1
    file = tmp_path / "round_0000001.png"
    samples.write(file, ["sky", "road", "car"], {"images": images, "predicted": teacher, "student": student})
    _, facts = sample_grid.read(file)
    first, second = (sample_maps.enlarged(file, facts, place) for place in (0, 1))
    assert first.probabilities == [("sky", 1.0, 1.0)]
    assert second.probabilities == [("sky", 0.75, 0.95), ("road", 0.0, 0.05), ("car", 0.25, 0.0)]
    assert second.facts == {"both agree on": "0.750 of the pixels"}
    picture = np.asarray(Image.open(io.BytesIO(second.png)))
    assert picture.shape == (4, 3 * 5 + 2 * maps.GAP, 3)
    assert np.array_equal(picture[:, :5], images[1].permute(1, 2, 0))
    assert tuple(picture[0, 5 + maps.GAP]) == maps.FIRST[2]
    assert tuple(picture[0, 2 * (5 + maps.GAP)]) == maps.FIRST[1]
    for wrong in ({**facts, "width": 6}, {**facts, "height": 40}):
        assert "another grid" in sample_maps.enlarged(file, wrong, 1).remark
    assert "another grid" in sample_maps.enlarged(file, facts, 2).remark


def test_runs_of_other_classes_have_a_panel_of_their_own() -> None:
    def of(label: str, names: tuple[str, ...]) -> compare.Group:
        run = Run(label, 0, {}, [evaluated([0.1, 0.2, 0.3])], {}, "", "", "", "", names)
        return compare.Group(label, (run,))

    groups = [
        of("a", ("sky", "road", "car")),
        of("b", ("cat", "dog", "cow")),
        of("c", ("sky", "road", "car")),
        of("d", ()),
    ]
    drawn = compare.by_class(groups)
    labels = {axis: getattr(drawn.layout, axis.replace("x", "xaxis", 1)).ticktext for axis in ("x", "x2", "x3")}
    assert labels == {"x": ("sky", "road", "car"), "x2": ("cat", "dog", "cow"), "x3": ("0", "1", "2")}
    assert [bar.xaxis for bar in drawn.data] == ["x", "x", "x2", "x3"]
    assert [bar.name[0] for bar in drawn.data] == ["a", "c", "b", "d"]
    assert len({bar.marker.color for bar in drawn.data}) == 4
    assert drawn.layout.height > compare.by_class(groups[:1]).layout.height + 2 * 300


def test_the_rows_of_a_grid_are_buttons_that_enlarge_them(dense: RunFolder) -> None:
    shown = widgets.samples.Samples()
    shown.attach(dense)
    shown.refresh(0)
    _, facts = sample_grid.read(dense.samples()[2])
    html = markup(*shown.grid.content)
    assert html.count("data-press") == facts["images"] == samples.MAPS
    shown.press("1")
    html = markup(*shown.grid.content)
    assert f"2 of {facts['images']}" in html
    assert "both agree on" in html
    assert html.count("<i style='background: rgb(") == 11, "which color is which class"
    shown.press("next")
    assert f"3 of {facts['images']}" in markup(*shown.grid.content)
    shown.press("back")
    assert "data-focus" in markup(*shown.grid.content)
    assert "data-press" not in sample_grid.html(b"", facts), "a report has no kernel to press for"
