"""The queue's page: the present choice over values is planned as a whole; clicks move, hold and cancel runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import RunFolder, SpecError, sweeps
from widgets import Panel, cards, forecast, live, panel, variations
from widgets.queue_panel import QueuePanel

pytestmark = pytest.mark.slow


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The roots whose queue a process would be begun for; none is."""
    found: list[Path] = []
    monkeypatch.setattr(sweeps.Order, "have_worked_off", lambda self: found.append(self.root))
    return found


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: list[Path]) -> Iterator[Panel]:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(live.Live, "start", lambda self: self.refresh())
    monkeypatch.setattr(cards.Cards, "show", lambda self, *wanted: None)  # its thread would outlive the test
    monkeypatch.setattr(forecast.Forecast, "show", lambda self, *wanted: None)
    made = Panel(tmp_path / "runs", live=True)
    made.widget.selected_index = panel.PAGES.index("Queue")
    yield made
    made.close()


def vary(queue: QueuePanel, *axes: tuple[str, str]) -> None:
    for (axis, text), (name, values) in zip(queue.axes, axes, strict=False):
        axis.value, text.value = name, values


def press(queue: QueuePanel, name: str, label: str) -> None:
    (button,) = (each for each in queue.lines[name].widget.children[1:] if each.description == label)
    button.click()


def test_the_choice_is_put_there_over_seeds_and_a_setting(shown: Panel, begun: list[Path], tmp_path: Path) -> None:
    queue = shown.queue
    assert "Nothing waits here" in queue.standing.value
    shown.choice.run_form.value = {"method": "dafl", "rounds": 3}
    shown.choice.method_form.value = {"cycles": 7}
    said = "dafl · digits → convnet_8 · 3 rounds · seed 0 · cycles = 7."
    assert said in queue.common.value
    vary(queue, ("seed", "0..1"), ("balance", "1, 2.5"))
    queue.tell(queue.add)
    assert "4 runs are in the queue as dafl-over-seed-balance" in queue.message.value
    assert begun == [queue.order.root]
    spec = RunFolder(tmp_path / "runs" / "dafl-over-seed-balance" / "seed1-balance2.5").spec()
    found = (spec.seed, spec.settings["balance"], spec.settings["cycles"], spec.rounds)
    assert found == (1, 2.5, 7, 3)
    assert len(queue.rows.children) == 4
    assert "0 of 4 finished" in queue.standing.value
    assert "press Go on" in queue.standing.value, "nobody works it off in this test"
    queue.tell(queue.add)
    assert len(queue.order.read().runs) == 4, "the same again is no other"
    shown.choice.method_form.value = {"cycles": 8}
    queue.tell(queue.add)
    assert "as dafl-over-seed-balance-2 (cycles = 8)" in queue.message.value
    assert len(queue.order.read().runs) == 8
    lines = {name: line.text.value for name, line in queue.lines.items()}
    told = [name for name, text in lines.items() if "(cycles = 8)" in text]
    assert told == [name for name in lines if name.startswith("dafl-over-seed-balance-2/")]


def test_methods_may_be_varied(shown: Panel) -> None:
    vary(shown.queue, ("method", "dafl, dfad"))
    shown.queue.tell(shown.queue.add)
    assert shown.queue.order.read().runs == ["over-method/dafl", "over-method/dfad"]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ([("seed", "")], "seed has no values"),
        ([("seed", "1, 1")], "has a value twice"),
        ([("seed", "5..1")], "the smallest first"),
        ([("seed", "[1]")], "is no value"),
        ([("seed", "1"), ("seed", "2")], "seed is varied twice"),
        ([("method", "dafl, dafll")], "did you mean &#x27;dafl&#x27;?"),
        ([("seed", "0, x")], "1 of 2 runs are refused, so nothing is started"),
    ],
)
def test_what_cannot_be_run_is_said_and_nothing_is_added(
    axes: list[tuple[str, str]], sentence: str, shown: Panel, begun: list[Path], tmp_path: Path
) -> None:
    vary(shown.queue, *axes)
    shown.queue.tell(shown.queue.add)
    assert sentence in shown.queue.message.value
    assert "role='alert'" in shown.queue.message.value
    assert not begun
    assert not shown.queue.order.read().runs


def test_a_folder_of_its_own_and_a_wrong_field_are_refused(shown: Panel) -> None:
    shown.choice.run_form.fields["out"].control.value = "mine"
    shown.queue.tell(shown.queue.add)
    assert "is the folder of one run" in shown.queue.message.value
    shown.choice.run_form.fields["out"].control.value = ""
    shown.choice.run_form.fields["rounds"].control.value = "many"
    shown.queue.tell(shown.queue.add)
    assert "rounds = &#x27;many&#x27;" in shown.queue.message.value


def test_the_row_is_moved_cancelled_held_and_watched(shown: Panel, begun: list[Path]) -> None:
    queue = shown.queue
    queue.tell(queue.add)
    names = queue.order.read().runs
    press(queue, names[2], "↑")
    assert queue.order.read().runs == [names[0], names[2], names[1]]
    assert next(each for each in queue.lines.values() if each.widget is queue.rows.children[1]).name == names[2]
    press(queue, names[2], "↓")
    assert queue.order.read().runs == names
    press(queue, names[0], "Cancel")
    assert queue.order.read().runs == names[1:]
    assert names[0] not in queue.lines
    assert queue.hold.description == "Go on"
    queue.hold.click()
    assert len(begun) == 2
    assert queue.order.take_work()
    queue.refresh(at_once=True)
    assert queue.hold.description == "Hold"
    queue.hold.click()
    assert queue.order.read().held
    assert "held: no more are begun" in queue.standing.value
    queue.order.leave_work()
    queue.jobs.value = 4
    assert queue.order.read().jobs == 4
    press(queue, names[1], "Watch")
    assert shown.live.folder is not None
    assert shown.live.folder.path.name == "seed1"
    assert shown.widget.selected_index == 0


def test_all_are_cancelled_by_two_presses(shown: Panel) -> None:
    queue = shown.queue
    assert queue.clear.disabled
    vary(queue, ("seed", "0, 1"))
    queue.tell(queue.add)
    runs = [queue.order.folder(name) for name in queue.order.read().runs]
    queue.clear.click()
    assert "Press Cancel all again" in queue.message.value
    press(queue, queue.order.read().runs[0], "↓")
    assert not queue.message.value
    queue.clear.click()
    assert len(queue.order.read().runs) == 2, "a question is answered only while it stands there"
    queue.clear.click()
    assert queue.order.read().runs == []
    assert not any(each.exists() for each in runs)
    assert queue.message.value.count("2 runs are out of the queue")
    assert queue.clear.disabled


def test_what_another_panel_changes_is_shown(shown: Panel) -> None:
    queue = shown.queue
    queue.tell(queue.add)
    other = sweeps.Order(queue.root)
    other.cancel(other.read().runs[1])
    other.set_jobs(5)
    queue.refresh(at_once=True)
    assert len(queue.rows.children) == 2
    assert queue.jobs.value == 5
    other.file.write_text("{")
    queue.refresh(at_once=True)
    assert "remove it" in queue.standing.value


def test_the_settings_to_vary_follow_the_method(shown: Panel) -> None:
    axis, _ = shown.queue.axes[1]
    axis.value = "capacity"
    shown.choice.run_form.fields["method"].value = "dafl"
    assert axis.value == variations.NONE
    names = [name for _, name in axis.options]
    assert "capacity" not in names
    assert "balance" in names


def test_settings_to_vary_are_called_as_in_the_form_and_found_by_name_too(shown: Panel) -> None:
    axis, _ = shown.queue.axes[0]
    for label, name in (("buffer (images): capacity", "capacity"), ("data: evaluated on", "data"), ("gamma", "gamma")):
        axis.label = label
        assert axis.value == name
    labels = [label for label, _ in axis.options]
    assert len(set(labels)) == len(labels)


def test_a_file_that_a_run_folder_names_is_not_executed_from_the_queue_either(
    shown: Panel, make_file: Callable[[], str], begun: list[Path]
) -> None:
    name = make_file()
    shown.choice.trust.asked.add(name)
    vary(shown.queue, ("student", f'"{name}"'))
    shown.queue.tell(shown.queue.add)
    assert "was named by a run folder, not by you" in shown.queue.message.value
    assert not begun


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[], str]:
    def make() -> str:
        (tmp_path / "net.py").write_text("raise SystemExit('executed')\n")
        return f"{tmp_path / 'net.py'}:Net"

    return make


def test_numbers_and_ranges() -> None:
    assert variations.values_of("seed", "0..2, 7") == [0, 1, 2, 7]
    assert variations.values_of("gap", "0.5, 1e-3, a") == [0.5, "1e-3", "a"]
    with pytest.raises(SpecError, match="up to 1000 whole numbers"):
        variations.values_of("seed", "0..5000")


def test_values_are_read_as_the_fields_read_them() -> None:
    assert variations.values_of("seed", "010, 7") == [10, 7]
    assert variations.values_of("rounds", "1:30") == ["1:30"], "which no number is, and is refused as one"
    assert variations.values_of("student", "2024-01-01") == ["2024-01-01"]


def test_a_comma_in_a_value_is_no_comma_between_values() -> None:
    both = ["balance=5,activation=0.1", "balance=10"]
    assert variations.values_of("terms", '"balance=5,activation=0.1", "balance=10"') == both
    assert variations.values_of("terms", "'balance=5,activation=0.1'") == both[:1]
    assert variations.values_of("terms", "balance=10") == both[1:]
    assert variations.values_of("data", "'folder-pairs:a,b', 'scenes'") == [
        "folder-pairs:a,b",
        "scenes",
    ]
    assert variations.values_of("memory", "ring, priority") == ["ring", "priority"]
    for name, text in (("terms", "balance=5,activation=0.1"), ("data", "folder-pairs:a,b")):
        with pytest.raises(SpecError, match="may have commas; write each in quotes"):
            variations.values_of(name, text)
    with pytest.raises(SpecError, match="may be one number or 2"):
        variations.values_of("rounds", "10,000")


def test_one_addition_at_a_time(shown: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    inner: list[Any] = []

    def planned(self: sweeps.Sweep, planned_to: Any) -> list[RunFolder]:
        shown.queue.tell(shown.queue.add)
        inner.append(shown.queue.message.value)
        return []

    monkeypatch.setattr(sweeps.Sweep, "prepare", planned)
    shown.queue.tell(shown.queue.add)
    assert "runs are being planned" in inner[0]
