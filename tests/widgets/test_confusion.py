"""The figure of an examination: whole counts, names of classes, and at most so many of them."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dfkd_lab.runs import Examination
from dfkd_lab.runs.examination import Confusion, Images
from widgets import class_figures, confusion, figures
from widgets.chart import Chart

FACTS: dict[str, Any] = {
    **{"round": 3, "rounds": 4, "student_sha256": "0" * 64, "teacher_sha256": "1" * 64},
    **{"task": "classification", "remarks": (), "measured": {}},
}


def found(
    evaluation: Tensor | None,
    synthetic: Tensor | None,
    names: tuple[str, ...],
    images: Images | None = None,
    **more: Any,
) -> Examination:
    """An examination with these matrices."""
    matrices = {
        name: None if counts is None else Confusion(counts, f"the {name} images", int(counts.sum()))
        for name, counts in (("evaluation", evaluation), ("synthetic", synthetic))
    }
    return Examination(**{**FACTS, **matrices, "class_names": names, "images": images, **more})


COUNTS = torch.tensor([[8, 2, 0], [0, 5, 0], [1, 0, 3]])


def test_counts_are_whole_and_shares_those_of_a_row() -> None:
    figure = confusion.confusions(found(COUNTS, COUNTS.T.contiguous(), ("cat", "dog", "bird")))
    bars, heat, agreed, other = figure.data
    assert list(bars.x) == ["cat", "dog", "bird"]
    assert bars.y == pytest.approx([0.8, 1.0, 0.75])
    assert bars.customdata == (10, 5, 4)
    assert heat.z[0] == pytest.approx([0.8, 0.2, np.nan], nan_ok=True)
    assert [*map(list, heat.text)] == [["8", "2", ""], ["", "5", ""], ["1", "", "3"]]
    assert heat.customdata.tolist() == COUNTS.tolist()
    assert agreed.y == pytest.approx([8 / 9, 5 / 7, 1.0])
    assert other.customdata.tolist() == COUNTS.T.tolist()
    assert [note.text for note in figure.layout.annotations] == [
        "by class",
        "evaluation images",
        "synthetic images",
        "",
    ]
    assert all(axis.title.text for axis in [*figure.select_xaxes(), *figure.select_yaxes()])
    assert ":.3f" in heat.hovertemplate
    assert figure.layout.font.color == figures.TEXT


def test_without_an_evaluation_set_there_is_what_the_networks_say_of_each_other() -> None:
    figure = confusion.confusions(found(None, COUNTS, ("a", "b", "c")))
    assert [trace.type for trace in figure.data] == ["bar", "heatmap"]
    assert figure.layout.annotations[1].text == "synthetic images"
    assert figure.layout.yaxis2.title.text == "teacher"


def test_before_anything_was_examined_it_says_what_to_do() -> None:
    assert confusion.confusions(None).layout.annotations[-1].text == confusion.NOT_EXAMINED
    assert confusion.confusions(None, begun=False).layout.annotations[-1].text == figures.EMPTY


def test_a_class_that_is_nowhere_is_a_gap() -> None:
    (bars, *_) = confusion.confusions(found(torch.tensor([[3, 0], [0, 0]]), None, ("a", "b"))).data
    assert bars.y == pytest.approx([1.0, np.nan], nan_ok=True)


def test_names_are_no_markup_and_two_alike_are_told_apart() -> None:
    assert class_figures.axis_names(("crane", "<b>", "crane"), range(3)) == ["crane (0)", "&lt;b&gt;", "crane (2)"]


def test_long_names_are_cut_at_the_axes_and_whole_where_the_pointer_rests() -> None:
    names = ("an automobile & its wheels", "dog", "bird")
    bars, heat = confusion.confusions(found(COUNTS, None, names)).data
    figure = confusion.confusions(found(COUNTS, None, names))
    assert figure.layout.xaxis2.ticktext[0] == figure.layout.yaxis2.ticktext[0] == "an automo…"
    assert bars.hovertext[0] == "an automobile &amp; its wheels"
    assert heat.hovertext[0][1] == "label an automobile &amp; its wheels, student dog"
    assert figure.layout.xaxis2.tickangle == -45


def test_counts_of_pixels_are_where_the_pointer_rests() -> None:
    (_, heat) = confusion.confusions(found(10_000 * COUNTS, None, ("a", "b", "c"), task="segmentation")).data
    assert heat.text is None
    assert heat.customdata[0][0] == 80_000
    assert confusion.confusions(found(COUNTS, None, ("a", "b", "c"), task="segmentation")).layout.yaxis.title.text == (
        "share of pixels"
    )


def test_of_pixels_small_shares_are_near_the_page_and_a_bar_says_what_a_color_is() -> None:
    dense = found(10_000 * COUNTS, 10_000 * COUNTS, ("a", "b", "c"), task="segmentation")
    _, first, _, last = confusion.confusions(dense).data
    assert first.colorscale == last.colorscale == class_figures.FADING
    assert (first.showscale, last.showscale) == (False, True)
    assert last.colorbar.title.text == "share of the row"
    assert not any(trace.showscale for trace in confusion.confusions(found(COUNTS, COUNTS, ("a", "b", "c"))).data[1::2])


def test_two_matrices_stand_beside_each_other_below_the_bars() -> None:
    figure = confusion.confusions(found(COUNTS, COUNTS, ("a", "b", "c")))
    bars, left, right = (figure.layout[f"xaxis{name}"].domain for name in ("", "2", "3"))
    assert bars == (0, 1)
    assert left[1] < right[0]
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
    assert figure.layout.yaxis2.domain == figure.layout.yaxis3.domain
    assert figure.layout.height == confusion.HEIGHT_OF_TWO
    alone = confusion.confusions(found(COUNTS, None, ("a", "b", "c"))).layout
    assert alone.height == confusion.HEIGHT
    assert alone.yaxis.domain == alone.yaxis2.domain


def test_of_a_thousand_classes_the_most_confused_are_sent_in_kilobytes() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.diag(torch.full((1000,), 40))
    wrong = torch.arange(3, 903, 9)
    counts[wrong, (wrong + 1) % 1000] = torch.randint(5, 9, (100,), generator=generator)
    both = found(counts, counts, tuple(f"class {number}" for number in range(1000)))
    shown = confusion.most_confused([both.evaluation])
    assert len(shown) == confusion.MOST_SHOWN
    assert shown == sorted(shown)
    figure = confusion.confusions(both)
    assert figure.layout.annotations[0].text == "the 100 classes most confused"
    assert figure.data[1].z.shape == (100, 100)
    assert figure.data[1].text is None
    assert len(json.dumps(Chart(figure).get_state(["figure"]))) < 500_000
