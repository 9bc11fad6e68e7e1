import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from dfkd_lab import RunFolder
from dfkd_lab.engine.report import Report
from widgets import figures, loss_history, series
from widgets.compare import groups
from widgets.memory_figure import NOTHING_HELD, UNLOGGED, buffer

Draw = Callable[[Sequence[Report]], go.Figure]
ALL: list[Draw] = [figures.curves, figures.health, figures.losses, figures.cost]


def many(folder: RunFolder, rounds: int) -> list[Report]:
    """Reports of a long run: the last one of a short run again and again."""
    last = folder.reports()[-1]
    return [replace(last, round=number) for number in range(1, rounds + 1)]


@pytest.mark.parametrize("draw", ALL)
def test_no_reports_give_a_note_that_says_what_to_do(draw: Draw) -> None:
    assert draw([]).layout.annotations[-1].text == figures.EMPTY


@pytest.mark.parametrize("draw", ALL)
def test_figures_read_on_light_and_dark_and_every_axis_has_a_unit(draw: Draw, finished: RunFolder) -> None:
    figure = draw(finished.reports())
    assert figure.layout.annotations[-1].text == ""
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.layout.font.color == figures.TEXT
    assert figure.layout.modebar.orientation == "v", "beside titles and legends"
    assert all(axis.title.text for axis in figure.select_yaxes())


@pytest.mark.parametrize("draw", ALL)
def test_long_runs_are_thinned_and_sent_as_float32(draw: Draw, finished: RunFolder) -> None:
    for trace in draw(many(finished, 5000)).data:
        assert len(trace.x) <= series.MOST_POINTS
        assert np.asarray(trace.x).dtype == np.asarray(trace.y).dtype == np.float32


def test_thinning_keeps_both_ends(finished: RunFolder) -> None:
    rounds = [report.round for report in series.thin(many(finished, 5001))]
    assert (rounds[0], rounds[-1], len(rounds)) == (1, 5001, series.MOST_POINTS)


def test_curves_show_the_accuracy_of_every_round_and_the_teacher(finished: RunFolder) -> None:
    reports = finished.reports()
    student, _, teacher, mu = figures.curves(reports, 0.9).data
    assert mu.y == pytest.approx(np.cumsum(student.y) / np.arange(1, len(reports) + 1))
    assert student.y == pytest.approx([report.accuracy for report in reports])
    assert teacher.y == pytest.approx([0.9, 0.9])
    assert teacher.line.dash == "dash"


def test_agreement_stands_in_where_there_is_no_accuracy(finished: RunFolder) -> None:
    reports = [replace(report, accuracy=None) for report in finished.reports()]
    student, agreement, teacher, _ = figures.curves(reports, None).data
    assert (student.showlegend, agreement.showlegend, teacher.showlegend) == (False, True, False)
    assert np.isnan(student.y).all()
    assert agreement.y == pytest.approx([report.health["agreement"] for report in reports])


def test_the_cost_of_a_run_from_before_writing_was_counted_is_shown(finished: RunFolder) -> None:
    reports = finished.reports()
    by_name = lambda rows: {trace.name: trace for trace in figures.cost(rows).data}  # noqa: E731
    assert by_name(reports)["writing"].y == pytest.approx([report.cost.writing_s for report in reports])
    older = [report.event() for report in reports]
    for event in older:
        del event["cost"]["writing_s"]
    read = by_name([Report.from_event(event) for event in older])
    assert (read["writing"].y == 0).all()
    assert read["evaluation"].y == pytest.approx([report.cost.evaluation_s for report in reports])


@pytest.mark.parametrize("rounds", [6, 7000])
def test_curves_join_the_rounds_that_were_evaluated(finished: RunFolder, rounds: int) -> None:
    reports = [
        replace(report, accuracy=report.round / rounds if report.round % 3 == 0 else None)
        for report in many(finished, rounds)
    ]
    student, agreement, _, mu = figures.curves(reports).data
    assert set(student.x % 3) == set(mu.x % 3) == {0}
    assert (student.x[0], student.x[-1]) == (3, rounds - rounds % 3)
    assert student.y == pytest.approx(student.x / rounds)
    assert mu.y == pytest.approx((student.x + 3) / 2 / rounds)
    assert len(agreement.x) == min(rounds, series.MOST_POINTS)
    assert student.showlegend


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 3), (33, 34), (1, 7), (30, 500)])
def test_a_round_is_not_labelled_twice(first: int, last: int) -> None:
    axis = figures.by_round(first, last)
    if last - first < 6:
        assert (axis["tick0"], axis["dtick"]) == (first, 1)
    else:
        assert axis["tickformat"] == "d"
        assert (last - first) / axis["nticks"] >= 1
    assert axis["title_text"] == "round"
    assert first - 1 < axis["autorangeoptions_clipmin"] < first, "a round that was not would have a label"


def test_the_titles_of_small_multiples_stay_at_their_own_axes(finished: RunFolder) -> None:
    figure = figures.health(finished.reports())
    assert {axis.title.standoff for axis in (*figure.select_xaxes(), *figure.select_yaxes())} == {4}


def test_the_mean_over_rounds_has_one_name_that_is_no_forecast(finished: RunFolder) -> None:
    assert figures.curves(finished.reports()).data[3].name == groups.RESULTS["mu"] == "mean over rounds (μ)"


@pytest.mark.parametrize("draw", ALL)
def test_every_axis_of_rounds_begins_where_the_run_does(draw: Draw, finished: RunFolder) -> None:
    reports = [replace(each, round=each.round + 32) for each in finished.reports()]
    axes = list(draw(reports).select_xaxes())
    assert {axis.title.text for axis in axes} == {"round"}
    assert {(axis.tick0, axis.dtick) for axis in axes} == {(33, 1)}
    one = loss_history.figure({33: 0.1, 34: 0.2}).layout.xaxis
    assert (one.title.text, one.tick0, one.dtick) == ("round", 33, 1)


def test_a_memory_has_the_names_of_the_classes_and_of_segmentations_shares_of_pixels(
    finished: RunFolder,
) -> None:
    memory = {"images": 9, "capacity": 30, "oldest": 1, "classes": [6.5, 2.5]}
    report = replace(finished.reports()[-1], memory=memory)
    dense = buffer([replace(report, metric="mIoU")], ["background", "<b>"])
    assert dense.layout.xaxis.ticktext == ("background", "&lt;b&gt;")
    assert dense.layout.xaxis.title.text == "class the teacher sees"
    assert dense.layout.yaxis.title.text == "sum of shares of pixels"
    assert dense.layout.annotations[0].text == "9 of 30 images, the oldest 1 round old"
    whole = buffer([replace(report, memory={**memory, "oldest": 2})])
    assert whole.layout.xaxis.ticktext == ("0", "1")
    assert whole.layout.yaxis.title.text == "images"
    assert "the oldest 2 rounds old" in whole.layout.annotations[0].text


def test_what_a_replay_holds_is_said_in_two_lines(finished: RunFolder) -> None:
    memory = {"bytes": 310_000, "replayed": 16, "classes": [3, 5]}
    title = buffer([replace(finished.reports()[-1], memory=memory)]).layout.annotations[0].text
    assert title == "all images synthesized so far<br>(memory: 0.31 MB, 16 images replayed a step)"


@pytest.mark.parametrize(("memory", "said"), [({}, NOTHING_HELD), (None, UNLOGGED)])
def test_what_is_said_of_no_images_lies_on_nothing(memory: dict | None, said: str, finished: RunFolder) -> None:
    figure = buffer([replace(finished.reports()[-1], memory=memory)])
    assert [note.text for note in figure.layout.annotations] == [said]
    assert not any(axis.visible for axis in (*figure.select_xaxes(), *figure.select_yaxes()))


def test_no_figure_offers_an_upload(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr(figures, "display", lambda bundle, **more: shown.append(bundle))
    figures.show(figures.curves(finished.reports()))
    (bundle,) = shown
    assert bundle["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False
    assert len(bundle.pop("image/png")) < 60_000
    assert len(json.dumps(bundle)) < 30_000
    assert isinstance(figures.curves([]), go.Figure)


def test_smoothing_draws_moving_means_over_what_they_are_means_of(finished: RunFolder) -> None:
    reports = [replace(report, accuracy=(report.round % 2) * 1.0) for report in many(finished, 50)]
    plain = figures.curves(reports, 0.9)
    assert figures.smoothed(figures.curves(reports, 0.9), 0).to_json() == plain.to_json()
    smooth = figures.smoothed(figures.curves(reports, 0.9), 0.9)
    student, mean, teacher, _, *pale = smooth.data
    assert student.y[-1] == pytest.approx(0.5, abs=0.06)
    assert student.y[0] == plain.data[0].y[0], "the first value is not drawn towards 0"
    assert list(teacher.y) == list(plain.data[2].y)
    assert list(mean.y) == list(plain.data[1].y), "it is a mean already"
    assert [list(each.y) for each in pale] == [list(plain.data[place].y) for place in (0, 3)]
    assert not any(each.showlegend for each in pale)
    assert all(0 < each.opacity < 0.5 for each in pale)


def test_gaps_stay_gaps_and_sums_are_not_smoothed(finished: RunFolder) -> None:
    values = np.asarray([1.0, np.nan, 3.0], np.float32)
    assert series.smoothed(values, 0.5)[[0, 2]] == pytest.approx([1.0, (0.25 * 1 + 0.5 * 3) / 0.75])
    assert np.isnan(series.smoothed(values, 0.5)[1])
    cost = figures.cost(many(finished, 20))
    seconds = [list(each.y) for each in cost.data if each.stackgroup]
    assert [list(each.y) for each in figures.smoothed(cost, 0.9).data if each.stackgroup] == seconds


def test_no_two_losses_look_alike_and_all_are_named_in_one_place(finished: RunFolder) -> None:
    synthesis = dict.fromkeys(("batch_norm", "confidence", "activation", "balance", "adversarial", "contrast"), 1.0)
    student = dict.fromkeys(("kd", "kd_unmodulated", "attention", "label"), 1.0)
    reports = [replace(report, terms=synthesis, student=student) for report in finished.reports()]
    figure = figures.losses(reports)
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(looks) == len(figure.data) == 10
    assert len({trace.line.color for trace in figure.data}) == len(figures.COLORS)
    assert {trace.legend for trace in figure.data} == {None}


def test_a_legend_of_more_names_has_more_room_at_the_lower_edge(finished: RunFolder) -> None:
    few, many_names = ({f"loss {number}": 1.0 for number in range(count)} for count in (2, 9))
    report = finished.reports()[-1]
    one, other = (figures.losses([replace(report, terms={}, student=names)]).layout for names in (few, many_names))
    assert one.margin.b < other.margin.b
    for layout in (one, other, figures.cost([report]).layout, buffer([report]).layout):
        assert (layout.legend.yref, layout.legend.y, layout.xaxis.title.standoff) == ("container", 0, 4)
