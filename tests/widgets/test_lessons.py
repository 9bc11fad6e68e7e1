"""The lessons' figures on made-up facts, their runs on tiny plans, and the widget without a kernel."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image
from plotly.subplots import make_subplots

from dfkd_lab import RunError, RunFolder, Session, SpecError, plan
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.runs import maps
from dfkd_lab.runs.samples import sample_grid
from tests.support import events_of
from widgets import figures, lessons, pictures
from widgets.lessons import (
    adversary,
    asking,
    confidence,
    drawing,
    explorer,
    forgetting,
    inversion,
    lesson_runs,
    pixels,
    side_by_side,
    small,
)
from widgets.status import AMBER

GAME = {"method": "dafl", "rounds": 2, "cycles": 1, "batch": 16, "width": 8, "z_dim": 8, "device": "cpu"}


FEW = {("uniform", 0): 0.6, ("uniform", 1): 0.7, ("SSD-KD", 0): 0.5, ("SSD-KD", 1): 0.4}
"""Last accuracies by arm and seed."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are kept below this folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "lessons"


def inverted(steps: int) -> inversion.Inverted:
    asked = torch.tensor([0, 1, 2])
    facts = {"bn_gap": float(steps), "confidence": 0.5, "as_target": 2 / 3}
    return inversion.Inverted(torch.rand(3, 4, 4), asked, torch.tensor([0, 1, 9]), torch.full((3,), 0.5), facts)


def held(images: int) -> small.Held:
    of = torch.rand(2, min(10, images // 2), 4, 4)
    return small.Held([1, 0, 3], of, of[..., 0, 0].long(), of[..., 0, 0], [0.1, 0.5])


def reports(entropy: float) -> list[Report]:
    health = {"entropy": entropy, "agreement": 1.0}
    return [Report(n, 3, {"gap": -2.0}, {}, health, [], 0.1 * n) for n in (1, 2, 3)]


def grid(path: Path, seen: list[int]) -> Path:
    sample_grid(Batch(torch.rand(len(seen), 1, 16, 16), predicted=torch.tensor(seen)), 10).save(path)
    return path


def answers() -> asking.Answers:
    classes = torch.arange(10)[:, None].repeat(6, 1, 10)
    classes[0] = 0
    maps = [torch.rand(10, side, side) for side in (4, 2)]
    images = torch.rand(6, 10, 10, 4, 4)
    return asking.Answers(
        [1, 2, 3, 4, 5, 6], images, classes, images[..., 0, 0], {"teacher": maps, "student": maps}, [0.5] * 6
    )


def drawn(path: Path) -> dict[str, Callable[[Any], go.Figure]]:
    """Every lesson's figure as a function of its choice, with two choices each in CHOICES."""
    found = {(arm, steps): inverted(steps) for arm in ("label", "gap") for steps in (1, 10)}
    grids = {"alone": grid(path / "a.png", [5] * 12), "balance": grid(path / "b.png", [*range(10)])}
    runs = {"alone": reports(0.1), "balance": reports(2.0)}
    buffers = {(arm, n): held(n) for arm in ("uniform", "SSD-KD") for n in (14, 1000)}
    values = {("ring", 0): [0.1, 0.2], ("ring", 1): [0.3, 0.4], ("VAE", 0): [0.5, 0.6], ("VAE", 1): [0.5, 0.7]}
    answered = answers()
    return {
        "inversion": lambda steps: inversion.figure(found, 1.5, steps),
        "adversary": lambda round_: adversary.figure(runs, grids, round_),
        "forgetting": lambda name: forgetting.figure(values, [1, 2], name, "fraction"),
        "small": lambda n: small.figure(buffers, {"uniform": {14: [0.5, 0.7]}}, FEW, 80, n),
        "asking": lambda class_: asking.figure(answered, class_),
        "pixels": lambda share: dense_figure(path, share),
    }


def dense_figure(path: Path, share: float) -> go.Figure:
    """Two arms of three rounds each on maps of three classes."""
    reports = {"alone": [dense_report(round, 0.1) for round in (1, 2, 3)], "both": [dense_report(3, 0.9)]}
    now = {arm: pixels.at(rows, share) for arm, rows in reports.items()}
    maps.grid(torch.zeros(8, 1, 16, 16, dtype=torch.uint8), *torch.zeros(2, 8, 16, 16).long()).save(path / "maps.png")
    return pixels.figure(reports, now, dict.fromkeys(reports, path / "maps.png"), ["sky", "road", "car"])


def dense_report(round_: int, found: float) -> Report:
    details = {"mIoU": found, "iou": [found, found / 2, None], "pixel_accuracy": 0.7}
    shares = {"teacher": [0.5, 0.3, 0.2], "student": [0.9, 0.1, 0.0]}
    cost = Cost(s_steps=100 * round_)
    return Report(round_, 3, {}, {}, {}, [], found, cost=cost, metric="mIoU", details=details, shares=shares)


CHOICES: dict[str, tuple[Any, Any]] = {
    "inversion": (10, 1),
    "adversary": (3, 1),
    "forgetting": ("accuracy", "falls"),
    "small": (14, 1000),
    "asking": (3, 7),
    "pixels": (0.25, 1.0),
}


@pytest.mark.parametrize("lesson", CHOICES)
def test_figures_read_on_light_and_dark_and_say_their_units(lesson: str, tmp_path: Path) -> None:
    figure = drawn(tmp_path)[lesson](CHOICES[lesson][0])
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.layout.font.color == figures.TEXT
    with_curves = {trace.yaxis or "y" for trace in figure.data if isinstance(trace, go.Bar) or
                   (isinstance(trace, go.Scatter) and trace.mode != "text")}  # fmt: skip
    titles = {axis.plotly_name.replace("axis", ""): axis.title.text for axis in figure.select_yaxes()}
    assert with_curves
    assert all(titles[name] for name in with_curves)
    assert len(figure.to_json()) < 200_000


@pytest.mark.parametrize("lesson", CHOICES)
def test_another_choice_redraws_the_chart(lesson: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(explorer, "display", shown.append)
    draw = drawn(tmp_path)[lesson]
    first, second = CHOICES[lesson]
    view = explorer.Explorer(draw, "choice", [(str(each), each) for each in (first, second)], first, live=True)
    assert len(shown) == 1
    before = shape(view.chart.drawn)
    view.choice.value = second
    assert shape(view.chart.drawn) == shape(draw(second)) != before


def shape(figure: Any) -> str:
    return json.dumps(json.loads(go.Figure(figure).to_json()), sort_keys=True)


def test_headless_the_figure_is_still_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[go.Figure] = []
    monkeypatch.setattr(figures, "show", shown.append)
    explorer.Explorer(drawn(tmp_path)["inversion"], "steps", [("1", 1), ("10", 10)], 10, live=False)
    (figure,) = shown
    assert isinstance(figure, go.Figure)


def test_plans_vary_in_a_run_setting_or_in_one_of_the_method() -> None:
    arms = {"a": plan(GAME), "b": plan(GAME, terms="balance=5")}
    seeds = lessons.vary(arms, seed=(0, 7))
    assert {key: spec.seed for key, spec in seeds.items()} == {("a", 0): 0, ("a", 7): 7, ("b", 0): 0, ("b", 7): 7}
    assert seeds["b", 7].terms == "balance=5"
    widths = lessons.vary(arms, width=(8, 16))
    assert {key: spec.settings["width"] for key, spec in widths.items()} == {
        ("a", 8): 8, ("a", 16): 16, ("b", 8): 8, ("b", 16): 16,
    }  # fmt: skip


def test_a_finished_run_is_read_and_another_plan_is_another_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []
    keep = lambda session: rounds.append(session.run.round)  # noqa: E731
    first = lessons.run("99", {"one": plan(GAME)}, keep)["one"]
    assert first.path.resolve().parent == here.resolve()
    assert first.status()["state"] == "finished"
    assert rounds == [1, 2]
    monkeypatch.setattr(lesson_runs, "Session", None)  # a second execution computes nothing
    assert lessons.run("99", {"one": plan(GAME)}, keep)["one"].path == first.path
    assert lesson_runs.folder_of("99", plan(GAME, seed=1).spec).path != first.path


def test_an_interrupted_run_goes_on(here: Path) -> None:
    spec = plan(GAME, checkpoint_s=0.0)

    def interrupt(session: Session) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lessons.run("99", {"one": spec}, interrupt)
    rounds: list[int] = []
    folder = lessons.run("99", {"one": spec}, lambda session: rounds.append(session.run.round))["one"]
    assert rounds == [2]
    assert len(events_of(folder)) == 2


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, and runs that are long enough."""
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 2)
    monkeypatch.setattr(side_by_side, "FEWEST_STEPS", 0)


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_longer_runs_are_computed_at_a_time_and_give_what_one_gives(here: Path) -> None:
    said: list[str] = []
    arms = lessons.vary({"game": plan(GAME)}, seed=(0, 1, 2))
    left = {
        name: each.into(lesson_runs.folder_of("99", each.spec).path, evaluate_every=1) for name, each in arms.items()
    }
    assert side_by_side.worthwhile([*left.values()])
    folders = {name: RunFolder.of(each.spec) for name, each in left.items()}
    lesson_runs._several(left, folders, said.append)
    assert [folder.status()["state"] for folder in folders.values()] == ["finished"] * 3
    assert "3 of 3 runs finished" in said[-1]
    assert "<progress value='6' max='6'" in said[-1]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = lessons.run("98", {"one": plan(GAME, seed=2)})["one"]
    finally:
        torch.set_num_threads(threads)
    students = [(each.path / "student.safetensors").read_bytes() for each in (alone, folders["game", 2])]
    assert students[0] == students[1]


@pytest.mark.slow
@pytest.mark.usefixtures("two_cores")
def test_what_is_interrupted_or_refused_at_a_time_is_saved_and_goes_on(here: Path) -> None:
    long = plan(GAME, rounds=4000, checkpoint_s=1000.0).into(here / "long")
    (here / "held").mkdir(parents=True)
    (here / "held" / "spec.yaml").write_text("method: nothing")
    with pytest.raises((SpecError, RunError), match="held"):
        list(side_by_side.carry_out([long, plan(GAME).into(here / "held")], 0.05))
    folder = RunFolder(here / "long")
    assert folder.status()["state"] == "stopped"
    assert 0 < folder.status()["round"] < 4000
    assert len(events_of(folder)) == folder.status()["round"]


@pytest.mark.parametrize(("cores", "steps", "count"), [(1, 0, 2), (2, 10_000, 2), (2, 0, 1)])
def test_few_short_runs_start_no_processes(cores: int, steps: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: cores)
    monkeypatch.setattr(side_by_side, "FEWEST_STEPS", steps)
    assert not side_by_side.worthwhile([plan(GAME)] * count)


def test_what_a_ring_holds(tmp_path: Path) -> None:
    settings = {"g_steps": 1, "s_steps": 1, "batch": 10, "capacity": 25}
    given = {"method": "deepinversion", "form": "authors", "device": "cpu", **settings}
    spec = plan(given, rounds=2, out=str(tmp_path / "run"))
    session = Session(spec)
    assert len(list(session)) == 2
    kept = lesson_runs.stored(session.folder)
    assert kept["labels"].tolist() == [*range(10)] * 2
    assert kept["images"].shape == (20, 1, 16, 16)
    assert 0.1 < kept["images"].mean() < 1


def test_what_is_shifted_raises_the_gap_and_is_mended_by_statistics_of_its_own() -> None:
    """A teacher whose logits are what its one batch norm gives: shifted images are a sure class until they set it."""
    layer = torch.nn.BatchNorm2d(2).eval()
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 1, bias=False), layer, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    net[0].weight.data = torch.tensor([5.0, -5.0]).view(2, 1, 1, 1)
    model = Frozen(net, (0.0,), (1.0,))
    images = torch.rand(50, 1, 4, 4)
    near, far = (confidence.measure(model, images - shift) for shift in (0.5, -1.0))
    assert near.gap < far.gap
    assert near.confidence < 0.8 < 0.99 < far.confidence
    assert far.own_statistics == pytest.approx(near.own_statistics, abs=1e-4)
    assert far.softened < far.confidence
    assert (far.class_, far.share) == (0, 1.0)
    assert layer.num_batches_tracked == 0, "the teacher is as it was"
    text = confidence.table({"far": far}).splitlines()
    assert text[2].startswith("| far | 1.000 | ")
    assert text[2].endswith(" | 0 (100%) |")
    assert len({line.count("|") for line in text}) == 1


def test_shuffled_digits_have_the_grey_values_of_digits() -> None:
    model = Frozen(torch.nn.Identity(), (0.3,), (0.2,))
    digits = torch.rand(20, 1, 8, 8)
    kinds = confidence.kinds(model, digits, seed=0)
    shuffled = kinds["digits with their pixels shuffled"]
    assert not torch.equal(shuffled, digits)
    assert torch.equal(shuffled.flatten(1).sort(1).values, digits.flatten(1).sort(1).values)
    noise = kinds["noise, as the inversion begins"]
    assert (float(noise.amin()), float(noise.amax())) == (0, 1)
    assert kinds["noise with a quarter of the contrast"].std() == pytest.approx(0.05, rel=0.1)


def test_milestones_begin_with_one_step_and_end_with_all() -> None:
    assert inversion.milestones(100) == (1, 5, 10, 20, 50, 100)
    assert inversion.milestones(1) == (1,)


def test_tiles_are_the_images_of_a_sample_grid(tmp_path: Path) -> None:
    seen = [0, 0, 3]
    images = torch.rand(3, 1, 16, 16)
    sample_grid(Batch(images, predicted=torch.tensor(seen)), 10).save(tmp_path / "grid.png")
    found = drawing.tiles(tmp_path / "grid.png", 10)
    assert found.shape == (10, 10, 16, 16)
    assert torch.allclose(found[0, :2], images[:2, 0], atol=1 / 255)
    assert torch.allclose(found[3, 0], images[2, 0], atol=1 / 255)
    assert drawing.filled(found).nonzero().tolist() == [[0, 0], [0, 1], [3, 0]]


def test_a_strip_says_what_the_teacher_sees_and_marks_what_was_not_asked() -> None:
    classes, asked = torch.tensor([[3, 4]]), torch.tensor([[3, 5]])
    figure = drawing.finished(make_subplots(rows=1, cols=1), 300)
    drawing.add_strip(figure, 1, 1, torch.rand(1, 2, 4, 4), ["arm"], ["a", "b"], classes,
                      torch.tensor([[0.25, 1.0]]), asked)  # fmt: skip
    picture, words = figure.data
    assert picture.source.startswith("data:image/png;base64,")
    assert list(words.text) == ["3 0.25", "4 1.00"]
    assert list(words.textfont.color) == [figures.TEXT, AMBER]


def test_the_gap_of_the_game_is_shown_as_what_was_found(tmp_path: Path) -> None:
    figure = drawn(tmp_path)["adversary"](2)
    gaps = [trace for trace in figure.data if trace.name == "alone"][-1]
    assert np.asarray(gaps.y).tolist() == [2.0, 2.0, 2.0]
    assert all(shape.x0 == shape.x1 == 2 for shape in figure.layout.shapes)


def test_maps_are_cut_to_a_few_images_and_classes_marked_where_the_steps_are(tmp_path: Path) -> None:
    figure = dense_figure(tmp_path, 0.5)
    first = next(trace for trace in figure.data if isinstance(trace, go.Image))
    with Image.open(io.BytesIO(base64.b64decode(first.source.partition(",")[2]))) as shown:
        assert shown.size == (3 * 18 - 2, pixels.ROWS * 18 - 2)
    lines = {shape.x0 for shape in figure.layout.shapes}
    assert lines == {200, 300}, "the first round of each arm with half of the steps that it has at the end"
    marks = [trace for trace in figure.data if isinstance(trace, go.Scatter) and trace.mode == "markers"]
    keys = [trace for trace in marks if trace.legend == "legend2"]
    assert np.asarray(marks[0].y) == pytest.approx([0.1, 0.05, np.nan], nan_ok=True)
    assert not set(np.asarray(marks[0].x)) & set(np.asarray(marks[1].x)), "no arm covers another"
    assert [(trace.name, trace.marker.color) for trace in keys] == [
        ("sky", "rgb(68, 68, 68)"), ("road", "rgb(230, 159, 0)"), ("car", "rgb(86, 180, 233)")
    ]  # fmt: skip
    assert "sky" not in pictures.words(figure)
    assert len(pictures.png(figure)) > 10_000


def test_figures_of_forgetting_in_closed_form() -> None:
    values = [0.5, 0.9, 0.7, 0.8, 0.6]
    assert forgetting.falls(values) == pytest.approx([0, 0, 0.2, 0.2, 0.4])
    assert forgetting.so_far("mu")(values)[:3] == pytest.approx([0.5, 0.7, 0.7])
    assert forgetting.so_far("sigma")(values)[:2] == pytest.approx([0, 0.2])


def test_the_last_student_is_asked_about_earlier_images(finished: RunFolder, tmp_path: Path) -> None:
    shares = forgetting.look_back(finished)
    assert len(shares) == 2
    assert all(0 <= share <= 1 for share in shares)


def test_a_band_reaches_from_the_lowest_to_the_highest_seed(tmp_path: Path) -> None:
    band, mean, *_ = drawn(tmp_path)["forgetting"]("accuracy").data
    assert np.asarray(band.y).tolist() == pytest.approx([0.3, 0.4, 0.2, 0.1])
    assert np.asarray(mean.y).tolist() == pytest.approx([0.2, 0.3])
    assert "2 seeds" in mean.name


def test_every_curve_of_the_small_buffers_has_its_name_at_its_end(tmp_path: Path) -> None:
    figure = drawn(tmp_path)["small"](14)
    assert all(trace.showlegend is False for trace in figure.data if not isinstance(trace, go.Image))
    keys = [trace for trace in figure.data if isinstance(trace, go.Scatter) and trace.mode == "lines+text"]
    assert [trace.text[1] for trace in keys] == ["uniform", "SSD-KD", "uniform", "uniform, longer", "SSD-KD"]
    assert [trace.y[0] for trace in keys] == pytest.approx([0.5, 0.5, 0.5, 0.6, 0.5])
    for x, names in (("x", keys[:2]), ("x3", keys[2:])):
        heights = sorted(trace.y[1] for trace in names)
        assert min(np.diff(heights)) >= drawing.APART - 1e-9
        assert all(trace.xaxis == x and trace.x[0] < trace.x[1] for trace in names)
    assert figure.layout.xaxis3.range[1] > np.log10(1000) > figure.layout.xaxis3.range[0]


@pytest.mark.parametrize(
    ("heights", "places"),
    [
        ([0.2, 0.9], [0.2, 0.9]),
        ([0.9, 0.9], [0.9, 0.825]),
        ([1.0, 0.94], [0.96, 0.885]),
        ([0.5, 0.6, 0.55], [0.45, 0.6, 0.525]),
    ],
)
def test_names_that_would_meet_are_moved_apart(heights: list[float], places: list[float]) -> None:
    assert drawing.apart(heights) == pytest.approx(places)


def test_few_steps_show_every_seed_and_the_mean(tmp_path: Path) -> None:
    by_name = {trace.name: trace for trace in drawn(tmp_path)["small"](14).data if trace.xaxis == "x5"}
    assert np.asarray(by_name["SSD-KD, each seed"].y).tolist() == pytest.approx([0.5, 0.4])
    assert np.asarray(by_name["uniform, mean"].y).tolist() == pytest.approx([0.65, 0.65])


def test_the_recorded_ladder_is_read_by_capacity_and_may_be_missing(tmp_path: Path) -> None:
    assert small.recorded(tmp_path / "none.json") == {}
    path = tmp_path / "ladder.json"
    path.write_text(json.dumps({"uniform, 14 images": [{"last": 0.5}], "+ priority (SSD-KD)": [], "other": []}))
    assert small.recorded(path) == {"uniform": {14: [0.5]}, "SSD-KD": {}}


def test_the_ladder_has_the_rows_that_the_benchmark_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(benchmarks))
    import digits

    assert {row for rows in small.RECORDED.values() for row in rows.values()} <= set(digits.LADDER)


def test_a_conditional_generator_is_asked_for_every_class_with_the_same_noise(here: Path) -> None:
    spec = plan(method="cgdd", rounds=2, cycles=1, batch=16, width=8, z_dim=8, device="cpu", g_lr=0.0)
    plain = Session(plan(method="cgdd", rounds=2, cycles=1, batch=16, width=8, z_dim=8, device="cpu", g_lr=0.0,
                         out="plain"))  # fmt: skip
    assert len(list(plain)) == 2
    folder = lessons.run("24", {"CGDD": spec}, asking.keep)["CGDD"]
    first, second = (np.asarray(Image.open(path)) for path in sorted(asking.targets(folder).iterdir()))
    assert (first == second).all()  # a generator that does not learn, and the same noise
    student = "student.safetensors"
    assert (folder.path / student).read_bytes() == (plain.folder.path / student).read_bytes()
    found = asking.read(folder)
    assert found.images.shape == (2, 10, 10, 16, 16)
    assert [tuple(each.shape) for each in found.maps["student"]] == [(10, 16, 16), (10, 8, 8), (10, 4, 4)]
    assert found.maps["teacher"][0].square().sum((1, 2)) == pytest.approx(np.ones(10), abs=1e-4)
