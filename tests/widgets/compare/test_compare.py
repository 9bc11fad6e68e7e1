import csv
import json
import re
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ipywidgets.widgets import widget

from dfkd_lab import RunFolder, plan
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import record
from widgets import compare, figures
from widgets.compare.figures import MOST_POINTS
from widgets.compare.groups import differing

HOSTILE = "<img src=x onerror=alert(1)>"
PLOTLY = "application/vnd.plotly.v1+json"
Make = Callable[..., RunFolder]


def event(number: int, rounds: int, accuracy: float | None) -> dict[str, Any]:
    spent = {
        "images": 100 * number,
        "teacher_queries": 200 * number,
        "s_steps": 40 * number,
        "synthesis_s": 1.5 * number,
    }
    shown = {"agreement": 0.5, "entropy": 2.0, "confidence": 0.9, "distance": 0.3}
    return {"round": number, "rounds": rounds, "accuracy": accuracy, "terms": {}, "student": {}, "alarms": [],
            "health": shown, "cost": spent}  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(name, accuracies, **settings)``: a finished run folder, written without a run."""

    def write(
        name: str, accuracies: Sequence[float | None] = (0.2, 0.8), state: str = "finished", **settings: Any
    ) -> RunFolder:
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        spec = record(plan({"method": "dafl", "rounds": max(1, len(accuracies)), **settings, "out": str(path)}).spec)
        session = {"device": "CPU", "commit": "0123456789"}
        manifest = {"method": {"name": spec["method"]}, "teacher": {"sha256": "ab" * 32, "accuracy": 0.99},
                    "sessions": [session]}  # fmt: skip
        events = [event(number, len(accuracies), accuracy) for number, accuracy in enumerate(accuracies, 1)]
        (path / "spec.yaml").write_text(yaml.safe_dump(spec))
        (path / "manifest.json").write_text(json.dumps(manifest))
        (path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
        (path / "status.json").write_text(json.dumps({"state": state, "round": len(events), "pid": 1, "host": "other"}))
        return RunFolder(path)

    return write


@pytest.fixture
def two(make: Make) -> list[RunFolder]:
    """Three seeds of one setting and one of another."""
    runs = [make(f"a-seed{seed}", (0.2, last), seed=seed) for seed, last in enumerate((0.7, 0.8, 0.9))]
    return [*runs, make("b-seed0", (0.1, 0.3, 0.5), z_dim=8)]


def shown(view: compare.Compare, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    parts: list[Any] = []
    for place in ("widgets.compare.panel.display", "widgets.figures.display"):
        monkeypatch.setattr(place, lambda part, **more: parts.append(part))
    view._ipython_display_()
    return parts


def test_seeds_of_the_same_settings_are_one_group(two: list[RunFolder]) -> None:
    ours, other = compare.group(two)
    assert [run.seed for run in ours.runs] == [0, 1, 2]
    assert ours.label != other.label
    assert "z_dim 8" in other.label
    assert set(differing([ours, other])) == {"rounds", "z_dim"}


def test_a_name_that_a_person_gave_comes_first(make: Make) -> None:
    best, plain = make("my best-seed0", z_dim=8), make("dafl-digits-convnet_8-seed0-2")
    of_a_sweep = make("sweep/width=8/seed0", width=8)
    (of_a_sweep.path.parents[1] / "sweep.yaml").touch()
    labels = [each.label for each in compare.group([best, plain, of_a_sweep])]
    wanted = ["dafl, width 16, z_dim 64", "dafl, width 8, z_dim 64", "my best (dafl, width 16, z_dim 8)"]
    assert sorted(labels) == wanted
    groups = compare.group([best])
    assert "my best (dafl)" in compare.results(groups)
    assert compare.overlay(groups).data[0].name == "my best (dafl) (n = 1)"


def test_a_long_entry_of_a_legend_takes_lines_and_room(make: Make) -> None:
    short, long = (compare.overlay(compare.group([make(name)])) for name in ("short", "<very> long " * 12))
    lines = long.data[0].name.split("<br>")
    assert len(lines) > 2
    assert max(len(unescape(line)) for line in lines) <= 56
    assert "&lt;very&gt; long" in lines[0]
    assert long.layout.margin.b > short.layout.margin.b
    assert long.layout.legend.entrywidth is None, "no entry runs into the next"


def test_columns_say_what_their_names_do_not(two: list[RunFolder]) -> None:
    page = compare.results(compare.group(two))
    assert re.search("<th scope='col'><span title='mean [^']*no forecast'>mean over rounds \\(μ\\)</span>", page)


def test_another_teacher_file_is_another_group(two: list[RunFolder]) -> None:
    manifest = two[1].manifest()
    manifest["teacher"]["sha256"] = "cd" * 32
    (two[1].path / "manifest.json").write_text(json.dumps(manifest))
    groups = compare.group(two[:3])
    assert [len(each.runs) for each in groups] == [2, 1]
    assert differing(groups) == {"teacher file": ["abababab", "cdcdcdcd"]}


def test_a_repeated_seed_does_not_count_twice(make: Make) -> None:
    groups = compare.group([make("first", seed=0), make("again", seed=0), make("more", seed=1)])
    assert sorted(len(each.runs) for each in groups) == [1, 2]
    assert len({each.label for each in groups}) == 2
    assert "repeats seeds of" in compare.results(groups)


def test_the_line_is_the_mean_and_the_band_the_extremes(two: list[RunFolder]) -> None:
    figure = compare.overlay(compare.group(two))
    band, line, single, teacher = figure.data
    assert line.y == pytest.approx([0.2, 0.8])
    assert band.y == pytest.approx([0.2, 0.9, 0.7, 0.2])
    assert band.x == pytest.approx([1, 2, 2, 1])
    assert "n = 3" in line.name
    assert "n = 1" in single.name
    assert teacher.name == "teacher digits 0.990"
    assert "lowest to highest" in figure.layout.legend.title.text


def test_a_seed_that_is_behind_counts_in_its_rounds_only(make: Make) -> None:
    groups = compare.group([make("a-seed0", (0.2, 0.4)), make("a-seed1", (0.4,), rounds=2, seed=1)])
    _, line, _ = compare.overlay(groups).data
    assert line.y == pytest.approx([0.3, 0.4])
    assert list(line.customdata) == [2, 1]
    assert compare.rows(groups)[0]["rounds"] == "1 to 2"


def test_agreement_stands_in_where_there_is_no_accuracy(make: Make) -> None:
    groups = compare.group([make("blind", (None, None), data="none")])
    line = compare.overlay(groups).data[0]
    assert line.y == pytest.approx([0.5, 0.5])
    assert "agreement" in line.name
    (point,) = compare.cost_against_accuracy(groups).data
    assert list(point.y) == [0.5]
    assert "agreement" in point.name


def test_rows_are_means_with_deviations(two: list[RunFolder]) -> None:
    ours, other = compare.rows(compare.group(two))
    assert (ours["n"], ours["seeds"], ours["state"]) == (3, "0 1 2", "finished")
    assert ours["last"] == pytest.approx(0.8)
    assert ours["last_sd"] == pytest.approx(0.1)
    assert (other["last"], other["last_sd"]) == (0.5, None)
    assert (ours["images"], ours["teacher_queries"], ours["seconds"]) == (200, 400, 3.0)
    assert ours["device"] == "CPU"
    assert "0.800 ± 0.100" in compare.results(compare.group(two))
    assert "oracle" in compare.results(compare.group(two))


@pytest.mark.parametrize(("by", "spent"), [("images", 200), ("teacher_queries", 400), ("seconds", 3), ("s_steps", 80)])
def test_cost_is_a_point_a_run(two: list[RunFolder], by: str, spent: float) -> None:
    figure = compare.cost_against_accuracy(compare.group(two), by)
    ours, other = figure.data
    assert list(ours.x) == [spent] * 3
    assert list(ours.y) == pytest.approx([0.7, 0.8, 0.9])
    assert list(other.x) == [spent * 1.5]
    assert figure.layout.xaxis.type == "linear"


def test_costs_far_apart_are_on_a_log_scale_unless_one_is_nothing(make: Make) -> None:
    short, long = make("short", (0.5,)), make("long", (0.5,) * 20)
    assert compare.cost_against_accuracy(compare.group([short, long])).layout.xaxis.type == "log"
    free = event(1, 1, 0.5) | {"cost": {"images": 0}}
    (short.path / "events.jsonl").write_text(json.dumps(free) + "\n")
    assert compare.cost_against_accuracy(compare.group([short, long])).layout.xaxis.type == "linear"


def test_axes_end_where_accuracies_do_and_count_in_whole_numbers(make: Make) -> None:
    one = compare.group([make("one", (0.5,))])
    curves, costs = compare.overlay(one), compare.cost_against_accuracy(one)
    for axis in (curves.layout.yaxis, costs.layout.yaxis):
        assert (axis.autorangeoptions.clipmin, axis.autorangeoptions.clipmax) == (0, 1.03)
    assert costs.layout.xaxis.rangemode == "tozero"
    assert costs.layout.xaxis.autorangeoptions.include >= 5, "ticks of a few are whole numbers"


def test_an_unknown_cost_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'images'"):
        compare.cost_against_accuracy([], "image")


def test_only_settings_that_differ_are_listed(two: list[RunFolder], make: Make) -> None:
    table = compare.settings(compare.group(two))
    assert "<td>z_dim</td>" in table
    assert "<td>width</td>" not in table
    assert "<details>" not in table
    folded = compare.settings(compare.group([*two, make("other", method="ssd_kd")]))
    assert folded.index("<td>z_dim</td>") < folded.index("<details>") < folded.index("<td>capacity</td>")
    assert "same settings" in compare.settings(compare.group(two[:3]))
    assert "One run is chosen" in compare.settings(compare.group(two[:1]))


@pytest.mark.parametrize(("names", "told"), [(("a", "b"), "<span title='/x/1/a.pth'>a.pth</span>"),
                                            (("a", "a"), "<td>/x/1/a.pth</td>")])  # fmt: skip
def test_a_teacher_has_no_folders_where_its_name_tells_it(make: Make, names: tuple[str, str], told: str) -> None:
    folders = [make("first"), make("second")]
    for folder, number, name in zip(folders, (1, 2), names, strict=True):
        path = folder.path / "spec.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "teacher": f"/x/{number}/{name}.pth"}))
    assert told in compare.settings(compare.group(folders))


def test_the_csv_has_every_number_unrounded_and_the_settings(two: list[RunFolder], tmp_path: Path) -> None:
    path = compare.to_csv(compare.group(two), tmp_path / "table.csv")
    with path.open(newline="") as file:
        ours, other = csv.DictReader(file)
    assert float(ours["last"]) == pytest.approx(0.8)
    assert ours["runs"] == "a-seed0 a-seed1 a-seed2"
    assert (other["last_sd"], other["setting.z_dim"], other["setting.rounds"]) == ("", "8", "3")
    assert other["rounds"] == "3"


def test_a_name_in_the_csv_is_no_formula_and_a_number_stays_one(make: Make, tmp_path: Path) -> None:
    path = compare.to_csv(compare.group([make("=1+1", (0.2, 0.8))]), tmp_path / "table.csv")
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["runs"] == "'=1+1"
    assert float(row["last"]) == 0.8


@pytest.mark.parametrize("draw", [compare.overlay, compare.cost_against_accuracy])
def test_figures_read_on_light_and_dark_and_say_when_they_are_empty(draw: Any, two: list[RunFolder]) -> None:
    figure = draw(compare.group(two))
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.layout.font.color == figures.TEXT
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    assert not figure.layout.annotations
    assert "Nothing is chosen" in draw([]).layout.annotations[0].text


@pytest.mark.parametrize("rounds", [7, 5000])
def test_rounds_that_were_not_evaluated_leave_no_gap(make: Make, rounds: int) -> None:
    known = [0.5 if number % 3 == 0 or number == rounds else None for number in range(1, rounds + 1)]
    (group,) = compare.group([make("a-0", known, seed=0), make("a-1", known, seed=1)])
    _, curve, _ = compare.overlay([group]).data
    assert set(curve.x) <= {number for number, value in enumerate(known, 1) if value}
    assert (curve.x[0], curve.x[-1], len(curve.x)) == (3, rounds, min(sum(map(bool, known)), MOST_POINTS))
    assert curve.y == pytest.approx(np.full(len(curve.x), 0.5))
    assert set(curve.customdata) == {2}
    assert compare.rows([group])[0]["last"] == 0.5


def test_long_runs_stay_small(make: Make) -> None:
    runs = [make(f"{z_dim}-{seed}", [0.5] * 5000, z_dim=z_dim, seed=seed) for z_dim in (8, 16) for seed in (0, 1)]
    figure = compare.overlay(compare.group(runs))
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "lines") <= MOST_POINTS + 2
    assert all(np.asarray(trace.y).dtype == np.float32 for trace in figure.data)
    facts = figures.bundle(figure)
    assert len(facts.pop("image/png")) < 100_000
    assert len(json.dumps(facts)) < 100_000
    assert facts[PLOTLY]["config"]["showSendToCloud"] is False


def test_what_a_file_says_is_escaped(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = [make("hostile"), make("harmless", z_dim=8)]
    spec = yaml.safe_load((folders[0].path / "spec.yaml").read_text())
    spec |= {"method": HOSTILE, "teacher": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    (folders[0].path / "spec.yaml").write_text(yaml.safe_dump(spec))
    manifest = folders[0].manifest()
    manifest["sessions"][0] |= {"device": HOSTILE, "commit": HOSTILE}
    (folders[0].path / "manifest.json").write_text(json.dumps(manifest))
    lines = [{**each.event(), "metric": HOSTILE} for each in folders[0].reports()]
    (folders[0].path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (folders[1].path / "spec.yaml").write_text(yaml.safe_dump({HOSTILE: 1}))
    view = compare.Compare(tmp_path / "runs", live=False)
    drawn, tables, _ = shown(view, monkeypatch)
    assert "cannot be read" in tables.data
    for text in (json.dumps(drawn), tables.data, compare.Compare(tmp_path / "runs", live=True).message.value):
        assert "<img" not in text
        assert "&lt;img" in text


def test_headless_it_is_two_still_figures_and_tables(two: list[RunFolder], tmp_path: Path, monkeypatch: Any) -> None:
    before = len(widget._instances)
    view = compare.Compare(tmp_path / "runs", live=False)
    curves, tables, cost = shown(view, monkeypatch)
    assert len(widget._instances) == before
    assert {*curves} == {*cost} == {PLOTLY, "image/png", "text/plain"}
    assert "<h3>Results</h3>" in tables.data
    assert "<h3>Settings that differ</h3>" in tables.data


def test_references_are_never_shown_without_their_remark(make: Make, tmp_path: Path) -> None:
    make("real", method="kd")
    view = compare.Compare(tmp_path / "runs", live=True)
    assert "real" in view.list.options[0][0].replace("\u00a0", " ").split("(")[1]
    assert "not data-free" in view.tables.value
    for figure in (compare.overlay(view.groups), compare.cost_against_accuracy(view.groups)):
        assert "real images" in figure.data[0].name


def test_all_finished_are_chosen_unless_names_are_given(make: Make, tmp_path: Path) -> None:
    for name, state in (("one", "finished"), ("over-seed/seed0", "finished"), ("on", "running")):
        make(name, state=state)
    lesson = make("lessons/23/arm-seed0")
    root = tmp_path / "runs"
    assert set(compare.Compare(root, live=False).chosen) == {"one", "over-seed/seed0"}
    assert compare.Compare(lesson.path.parent, live=False).chosen == ["arm-seed0"]
    assert compare.Compare(root, live=False, names=" on, one ").chosen == ["on", "one"]
    with pytest.raises(SpecError, match="did you mean 'one'"):
        compare.Compare(root, live=False, names="onne")


def test_empty_states_say_what_to_do(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "runs"
    (empty,) = shown(compare.Compare(root, live=False), monkeypatch)
    assert "Start a run" in empty.data
    view = compare.Compare(root, live=True)
    assert "Start a run" in view.message.value
    assert view.buttons["Save as CSV"].disabled
    make("on", state="running")
    (empty,) = shown(compare.Compare(root, live=False), monkeypatch)
    assert "No run" in empty.data
    view.refresh()
    assert "Choose runs above" in view.message.value


def test_choosing_draws_again(two: list[RunFolder], make: Make, tmp_path: Path) -> None:
    view = compare.Compare(tmp_path / "runs", live=True)
    traces = lambda chart: chart.figure["data"]  # noqa: E731
    assert len(view.list.value) == 4
    assert len(traces(view.curves)) == 4
    view.list.value = ("b-seed0",)
    assert len(traces(view.curves)) == 2
    assert len(traces(view.costs)) == 1
    assert "a-seed0" not in view.tables.value
    view.by.value = "seconds"
    assert view.costs.figure["layout"]["xaxis"]["title"]["text"] == "seconds"
    view.list.value = ()
    assert view.curves.layout.display == "none"
    make("finished meanwhile")
    view.buttons["All finished"].click()
    assert len(view.list.value) == 5
    assert len(traces(view.curves)) == 5


def test_refresh_finds_new_runs_and_keeps_the_choice(two: list[RunFolder], make: Make, tmp_path: Path) -> None:
    view = compare.Compare(tmp_path / "runs", live=True)
    view.list.value = ("b-seed0",)
    make("new")
    make("early", ())
    view.buttons["Refresh"].click()
    assert {name for _, name in view.list.options} == {*(folder.name for folder in two), "new", "early"}
    assert view.list.value == ("b-seed0",)
    assert view.list.rows == len(view.runs) == 6
    view.choose(["b-seed0", "early"])
    assert "early has no finished round yet" in view.message.value


def test_a_line_begins_with_the_result_and_a_long_path_is_a_name(make: Make, tmp_path: Path) -> None:
    found = make("one")
    spec = yaml.safe_load((found.path / "spec.yaml").read_text())
    (found.path / "spec.yaml").write_text(yaml.safe_dump(spec | {"teacher": "/some/where/teachers/resnet20.pth"}))
    view = compare.Compare(tmp_path / "runs", live=True)
    ((line, name),) = view.list.options
    said = "accuracy 0.800  finished  one  dafl  teacher resnet20.pth  seed 0"
    assert (line.replace("\u00a0", " "), name) == (said, "one")
    assert [each["name"] for each in view.curves.figure["data"]][1] == "teacher resnet20.pth 0.990"
    words = " ".join(getattr(each, "value", "") for each in view.widget.children[2].children)
    assert "Ctrl" in words, "it is said how several are chosen"


def test_saving_writes_into_the_runs_folder_and_says_where(two: list[RunFolder], tmp_path: Path) -> None:
    view = compare.Compare(tmp_path / "runs", live=True)
    view.buttons["Save as CSV"].click()
    (path,) = (tmp_path / "runs").glob("compare-*.csv")
    assert str(path) in view.message.value
    view.root = tmp_path / "gone"
    view.buttons["Save as CSV"].click()
    assert "Cannot save" in view.message.value


def test_no_widget_is_left_behind(two: list[RunFolder], tmp_path: Path) -> None:
    compare.Compare(tmp_path / "runs", live=True).close()
    before = set(widget._instances)
    view = compare.Compare(tmp_path / "runs", live=True)
    for _ in range(10):
        view.refresh()
        view.list.value = ("b-seed0",)
    view.close()
    assert set(widget._instances) == before
