"""The headline: the figures that count, large, and a place for each before it is known."""

from dfkd_lab.engine.report import Cost, Report
from widgets import headline
from widgets.headline import percent, short


def report(round: int, accuracy: float | None, alarms: list[str] | None = None, metric: str = "accuracy") -> Report:
    cost = Cost(images=1234, teacher_queries=1_540_000, s_steps=5, distillation_s=2.0)
    health = {"agreement": 0.68}
    return Report(round, 9, {}, {}, health, alarms or [], accuracy, cost=cost, metric=metric)


def test_before_the_first_point_every_figure_has_its_place() -> None:
    shown = headline.html({"state": "no run", "round": 0}, [])
    assert shown.count("class='dfkd-figure'>–<") == 2
    assert "student accuracy" in shown
    assert "teacher accuracy" in shown


def test_the_last_student_that_was_evaluated_stands_beside_the_teacher() -> None:
    shown = headline.html({"state": "running", "round": 2}, [report(1, 0.545), report(2, None)], 0.9261, alarms=2)
    assert "54.5 %</b><span class='dfkd-what'>student accuracy, round 1<" in shown
    assert "92.6 %" in shown
    assert "1,234 images synthesized · 1.54 M teacher queries" in shown
    assert "2 alarms, below" in shown
    assert "round 2 of 9" in shown
    assert "accuracy 0.545" not in shown, "it is said once"


def test_a_run_without_data_is_known_by_its_agreement() -> None:
    shown = headline.html({"state": "running", "round": 1}, [report(1, None)])
    assert "68.0 %</b><span class='dfkd-what'>agreement with the teacher<" in shown


def test_what_a_file_says_is_escaped_and_a_segmentation_has_its_own_metric() -> None:
    shown = headline.html({"state": "<b>", "round": 1, "message": "<i>"}, [report(1, 0.5, metric="mIoU")], None)
    assert "<i>" not in shown
    assert "&lt;b&gt;" in shown
    assert "student mIoU" in shown


def test_numbers_are_short() -> None:
    assert (short(12), short(153_600), short(1_540_000), short(2.5e9)) == ("12", "153,600", "1.54 M", "2.5 G")
    assert percent(None) == "–"
