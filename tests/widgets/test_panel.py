import base64
import dataclasses
import html
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
import torch

from dfkd_lab import METHODS, RunFolder, RunSpec, nets, plan, prepare, teachers
from dfkd_lab.runs import timing
from dfkd_lab.spec import record, settings_of
from tests.support import events_of
from widgets import Panel, cards, choice, forecast, live, panel, run_table, status, views
from widgets.choice import Choice
from widgets.form import INVALID

pytestmark = pytest.mark.slow

RUNNING = '{"state": "running", "round": 1, "rounds": 2, "message": "", "pid": %d, "host": "elsewhere"}'


class Child:
    """A process that is starting, or has died."""

    def __init__(self, code: int | None = None):
        self.pid, self.code, self.terminated = -1, code, False

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.terminated = True


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[RunFolder]:
    """The folders whose run was begun; nothing trains."""
    found: list[RunFolder] = []
    monkeypatch.setattr(panel, "launch", lambda folder, trust_code: found.append(folder) or Child())
    return found


@pytest.fixture
def make_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Panel]]:
    """A panel whose clock is the test: it reads when told to."""
    monkeypatch.setattr(live.Live, "start", lambda self: self.refresh())
    monkeypatch.setattr(live, "IMAGE_PERIOD_S", 0)
    monkeypatch.setattr(cards.Cards, "show", lambda self, *wanted: None)  # its thread would outlive the test
    monkeypatch.setattr(forecast.Forecast, "show", lambda self, *wanted: None)
    made: list[Panel] = []
    yield lambda: made.append(Panel(tmp_path / "runs", live=True)) or made[-1]
    for each in made:
        each.close()


def running(path: Path) -> RunFolder:
    folder = prepare(plan(method="dafl", rounds=2, out=str(path)))
    (path / "status.json").write_text(RUNNING % os.getpid())
    return folder


def click(choice: Choice, name: str) -> None:
    (button,) = (each for each in within(choice.widget) if described(each) == name)
    button.click()


def within(widget: Any) -> Iterator[Any]:
    """A widget and all that is inside of it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from within(child)


def described(widget: Any) -> str:
    return str(getattr(widget, "description", ""))


def enabled(shown: Panel) -> list[str]:
    return [name for name, button in shown.buttons.items() if not button.disabled]


def test_start_begins_the_planned_run(make_panel: Any, launched: list[RunFolder], tmp_path: Path) -> None:
    shown = make_panel()
    assert enabled(shown) == ["Start"]
    shown.choice.run_form.value = {"method": "dafl", "rounds": 3, "seed": 5}
    shown.choice.method_form.value = {"cycles": 7}
    shown.buttons["Start"].click()
    (folder,) = launched
    assert folder.path == tmp_path / "runs" / "dafl-digits-convnet_8-seed5"
    assert record(folder.spec()) == record(
        plan(method="dafl", rounds=folder.spec().rounds, seed=5, cycles=7, out=str(folder.path)).spec
    )
    shown.live.refresh()
    assert "starting" in shown.live.status.value
    assert enabled(shown) == ["Stop"]
    shown.buttons["Stop"].click()
    assert shown.live.child.terminated


def test_a_run_that_another_process_continues_has_not_failed(make_panel: Any, tmp_path: Path) -> None:
    shown = make_panel()
    folder = prepare(plan(method="dafl", rounds=2, out=str(tmp_path / "runs" / "mine")))
    shown.live.attach(folder, Child())
    shown.live.refresh()
    assert shown.live.now()["state"] == "starting"
    shown.live.child.code = 0
    assert shown.live.now()["state"] == "failed", "it has ended and never wrote"
    (folder.path / "status.json").write_text(RUNNING % os.getpid())
    assert shown.live.now()["state"] == "running"
    (folder.path / "status.json").write_text((RUNNING % os.getpid()).replace("running", "finished"))
    shown.live.refresh()
    assert "failed" not in shown.live.status.value + shown.live.alarms.value


def test_the_line_beside_start_has_the_rounds_that_fit_into_the_minutes(
    make_panel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "rounds_within", lambda seconds, run, shape: 7)
    shown = make_panel()
    shown.choice.more_form.fields["minutes"].control.value = "0.2"
    assert shown.choice.resolved.spec.rounds == 7
    assert "7 rounds" in shown.bar.summary.value


def test_a_refusal_stands_until_the_next_choice_is_known(make_panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = make_panel()
    shown.choice.run_form.fields["student"].value = "nosuch"
    said: list[str] = []

    def look(values: Any) -> Any:
        said.append(shown.choice.problem)
        return plan(values)

    monkeypatch.setattr(choice, "plan", look)
    shown.choice.run_form.fields["student"].value = "convnet_8"
    assert "nosuch" in said[-1], "Start stays disabled while it is looked at"
    assert shown.choice.problem == ""
    assert enabled(shown) == ["Start"]


def test_that_the_teacher_will_be_trained_is_said_until_it_is(
    make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    shown = make_panel()
    assert "its teacher is trained, once" in shown.choice.ahead.value
    built_in = teachers.BUILT_IN["digits"].path
    built_in.parent.mkdir()
    built_in.touch()
    shown.choice.cards.on_found()
    assert "its teacher is trained" not in shown.choice.ahead.value


def test_the_form_shows_what_the_preset_gives(make_panel: Any) -> None:
    shown = make_panel()
    shown.choice.run_form.fields["method"].value = "dafl"
    assert shown.choice.method_form.value == plan(method="dafl").settings
    assert shown.choice.run_form.fields["rounds"].value == plan(method="dafl").rounds
    assert "Chen et al." in shown.choice.about.value
    assert "certain" in shown.choice.about.value


def test_the_buffer_size_shows_only_where_the_method_has_one(make_panel: Any) -> None:
    shown = make_panel()
    names = lambda: [described(each) for each in within(shown.choice.steps.widget)]  # noqa: E731
    assert "buffer (images)" in names()
    shown.choice.run_form.fields["method"].value = "dafl"
    assert "buffer (images)" not in names()


def test_settings_are_called_what_people_call_them_and_name_themselves_in_the_tooltip(make_panel: Any) -> None:
    choice = make_panel().choice
    control = choice.method_form.fields["capacity"].control
    assert control.description == "buffer (images)"
    assert control.tooltip.startswith("capacity: ")
    assert choice.run_form.fields["data"].control.description == "evaluated on"
    assert dict(choice.run_form.fields["method"].control.options)["FastDFKD (Fang 2022, certain)"] == "fast"


def test_the_form_folds_while_a_run_is_watched(make_panel: Any, launched: list[RunFolder]) -> None:
    shown = make_panel()
    assert shown.choice.widget.layout.display is None
    assert "ssd_kd · digits → convnet_8 · buffer 1,000 images" in shown.bar.summary.value
    shown.choice.run_form.value = {"method": "dafl", "rounds": 3}
    assert "dafl · digits → convnet_8 · 3 rounds · seed 0" in shown.bar.summary.value
    shown.choice.method_form.fields["batch"].value = 64
    assert "seed 0 · batch = 64" in shown.bar.summary.value
    shown.buttons["Start"].click()
    assert shown.choice.widget.layout.display == "none"
    assert "3 rounds · seed 0 · batch = 64" in shown.bar.summary.value, "of what runs, as before its start"
    shown.choice.run_form.value = {"rounds": 5}
    shown.live.refresh()
    assert "3 rounds" in shown.bar.summary.value, "what is watched, not what is chosen next"
    shown.bar.edit.value = True
    assert shown.choice.widget.layout.display is None
    assert "to start: dafl · digits → convnet_8 · 5 rounds" in shown.bar.summary.value, "as Start would"
    shown.choice.run_form.value = {"rounds": 6}
    assert "6 rounds" in shown.bar.summary.value
    shown.bar.edit.value = False
    assert "3 rounds" in shown.bar.summary.value
    shown.choice.run_form.value = {"rounds": 5}
    shown.attach(None)
    assert "5 rounds" in shown.bar.summary.value


def test_a_second_start_takes_the_next_free_folder(make_panel: Any, launched: list[RunFolder]) -> None:
    shown = make_panel()
    shown.start()
    shown.start()
    assert [folder.name for folder in launched] == ["ssd_kd-digits-convnet_8-seed0", "ssd_kd-digits-convnet_8-seed0-2"]


def test_a_value_out_of_range_is_said_at_once_and_keeps_start_from_being_pressed(make_panel: Any) -> None:
    shown = make_panel()
    field = shown.choice.method_form.fields["g_lr"]
    field.control.value = "500"
    assert "Cannot start: g_lr = 500.0 is out of range; allowed: a number 0 to 1" in shown.message.value
    assert "role='alert'" in shown.message.value
    assert enabled(shown) == []
    shown.choice.run_form.fields["rounds"].control.value = "1.5"
    assert "g_lr = 500.0" in shown.message.value
    assert "rounds = '1.5' is not a whole number" in html.unescape(shown.message.value)
    shown.live.attach(None)
    shown.live.refresh()
    assert enabled(shown) == [], "a new state of the run does not make the choice right"
    field.control.value = "0.5"
    shown.choice.run_form.fields["rounds"].control.value = "3"
    assert shown.message.value == ""
    assert enabled(shown) == ["Start"]


def test_a_choice_that_does_not_fit_together_is_a_sentence_too(make_panel: Any) -> None:
    shown = make_panel()
    fields = shown.choice.run_form.fields
    fields["method"].value = "kd"
    fields["data"].value = "none"
    assert "learns from real images" in shown.message.value
    assert enabled(shown) == []
    fields["method"].value = "dafl"
    assert shown.message.value == ""
    fields["teacher"].value = "missing.safetensors"
    assert "there is no file missing.safetensors" in shown.message.value
    fields["method"].value = "ssd_kd"
    assert "capacity" in shown.choice.method_form.value, "the form follows the method, whatever the teacher"


def test_a_field_that_is_refused_is_seen(make_panel: Any, tmp_path: Path) -> None:
    choice = make_panel().choice
    torch.save(nets.classifier("convnet_8", 3, 10).state_dict(), tmp_path / "bare.pth")
    assert choice.more.selected_index is None
    choice.run_form.fields["teacher"].value = str(tmp_path / "bare.pth")
    assert INVALID in choice.more_form.fields["normalization"].control._dom_classes
    assert (choice.more.selected_index, choice.settings.selected_index, choice.slots.selected_index) == (0, None, None)
    assert "does not say its normalization" not in choice.cards.teacher.value
    choice.run_form.fields["data"].value = "cifar10"
    assert choice.problem == "", "as its sentence says"
    choice.slot_form.fields["memory"].control.value = "ring:capasity=3"
    assert choice.slots.selected_index == 0
    choice.method_form.fields["g_lr"].control.value = "500"
    assert choice.settings.selected_index == 0


def test_changes_are_named_kept_and_taken_back(make_panel: Any) -> None:
    shown = make_panel()
    choice = shown.choice
    assert "All as in preset" in choice.changes.value
    choice.method_form.fields["g_lr"].value = 0.5
    choice.run_form.fields["rounds"].value = 7
    choice.slot_form.fields["memory"].value = "vae"
    assert "Changed from the preset 'digits': rounds, memory, g_lr." in html.unescape(choice.changes.value)
    assert choice.settings.titles == ("Settings of SSD-KD (1 changed)",)
    choice.method_form.fields["capacity"].value = 900
    assert choice.settings.titles == ("Settings of SSD-KD (1 changed)",), "the buffer's size is not in that fold"
    choice.run_form.fields["data"].value = "none"
    assert choice.method_form.value["g_lr"] == 0.5, "other data does not undo what was typed"
    click(choice, "Reset to preset 'digits'")
    assert choice.method_form.value == plan(method="ssd_kd", preset="digits").settings
    assert choice.values()["settings"] == {}
    assert "All as in preset" in choice.changes.value
    click(choice, "Take the paper's")
    assert choice.reset.description == "Reset to preset 'paper'", "what is reset to is what was chosen last"
    paper = plan(method="ssd_kd", preset="paper")
    assert choice.method_form.value == plan(choice.values()).settings == paper.settings
    assert choice.run_form.value["rounds"] == paper.rounds
    assert choice.run_form.value["preset"] == "paper"


def test_a_built_in_teacher_brings_its_student_and_its_data(make_panel: Any) -> None:
    fields = make_panel().choice.run_form.fields
    pair = lambda: (fields["student"].value, fields["data"].value)  # noqa: E731
    fields["teacher"].value = "scenes"
    assert pair() == ("unet_12", "scenes")
    fields["teacher"].value = "digits"
    assert pair() == ("convnet_8", "digits")
    fields["student"].value = "convnet_16"
    fields["teacher"].value = "scenes"
    assert pair() == ("convnet_16", "digits"), "what a person typed is refused, and not replaced"


@pytest.fixture
def cifar_teacher(tmp_path: Path) -> str:
    net = nets.classifier("resnet20", 3, 10)
    return str(teachers.adopt("mine", net, (3, 32, 32), 10, "cifar10", tmp_path))


def test_the_preset_follows_what_is_chosen(make_panel: Any, cifar_teacher: str) -> None:
    choice = make_panel().choice
    words = {"teacher": cifar_teacher, "data": "cifar10", "student": "resnet8"}
    for name, value in words.items():
        choice.run_form.fields[name].control.value = value
    wanted = plan(method="ssd_kd", **words)
    assert f"All as in preset '{wanted.preset}'" in html.unescape(choice.changes.value)
    assert (wanted.rounds, wanted.capacity) != (plan(method="ssd_kd").rounds, plan(method="ssd_kd").capacity)
    assert record(plan(choice.values()).spec) == record(wanted.spec)


def test_what_a_person_changed_stays_and_is_marked_when_the_preset_follows(make_panel: Any, cifar_teacher: str) -> None:
    choice = make_panel().choice
    choice.method_form.fields["batch"].control.value = "17"
    choice.run_form.fields["rounds"].control.value = "5"
    choice.run_form.fields["teacher"].control.value = cifar_teacher
    choice.run_form.fields["data"].control.value = "cifar10"
    assert (choice.method_form.value["batch"], choice.run_form.value["rounds"]) == (17, 5)
    assert "Changed from the preset 'cifar': rounds, batch." in html.unescape(choice.changes.value)
    choice.run_form.fields["method"].value = "fast"
    assert (choice.method_form.value["batch"], choice.run_form.value["rounds"]) == (17, 5)
    assert "Changed from the preset 'cifar': rounds, batch." in html.unescape(choice.changes.value)


def test_a_teacher_that_is_being_typed_changes_no_preset(make_panel: Any, cifar_teacher: str) -> None:
    choice = make_panel().choice
    choice.run_form.fields["teacher"].control.value = cifar_teacher
    choice.run_form.fields["data"].control.value = "cifar10"
    before = choice.method_form.value
    choice.run_form.fields["teacher"].control.value = "nowhere.pth"
    assert choice.method_form.value == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("teacher", "missing.safetensors"), ("student", "resnet9"), ("data", "cifar"), ("view", "rol"),
     ("terms", "balance"), ("memory", "ring:capasity=3"), ("memory", "vae:z_steps=-1"), ("out", "../elsewhere")],
)  # fmt: skip
def test_every_problem_marks_its_field(make_panel: Any, name: str, value: str) -> None:
    shown = make_panel()
    field = shown.choice._fields()[name]
    field.control.value = value
    assert enabled(shown) == []
    marked = [each.name for each in shown.choice._fields().values() if INVALID in each.control._dom_classes]
    assert marked == [name]
    field.control.value = settings_of(RunSpec)[name].default
    assert enabled(shown) == ["Start"]
    assert not [each for each in shown.choice._fields().values() if INVALID in each.control._dom_classes]


def test_data_that_cannot_be_read_keeps_start_from_being_pressed(
    make_panel: Any, cifar_teacher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = make_panel()
    choice = shown.choice
    choice.run_form.fields["teacher"].control.value = cifar_teacher
    choice.run_form.fields["data"].control.value = "cifar10"
    assert enabled(shown) == ["Start"]
    choice.cards._report("data = 'cifar10': no test_batch in here; set DFKD_DATA")  # as its thread does
    assert enabled(shown) == []
    assert "set DFKD_DATA" in shown.message.value
    assert INVALID in choice.run_form.fields["data"].control._dom_classes
    choice.run_form.fields["data"].control.value = "none"
    assert enabled(shown) == ["Start"]


def test_a_run_of_another_process_is_listed_and_one_that_is_gone_is_said_to_be(
    make_panel: Any, make_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "LISTED_EVERY_S", 0)
    shown = make_panel()
    assert shown.runs.rows == []
    folder = make_folder("done")
    nested = folder.path.parent / "lesson" / "one"
    shutil.copytree(folder.path, nested)
    shown.live.refresh()
    assert {row["name"] for row in shown.runs.rows} == {"done", "lesson/one"}
    shown.runs.watch("lesson/one")
    shown.live.refresh()
    assert shown.runs.watched == "lesson/one"
    assert "finished</b>" in shown.live.status.value
    shutil.rmtree(nested)
    shown.live.refresh()
    assert "gone</b>" in shown.live.status.value
    assert "moved, renamed or removed" in shown.live.status.value
    assert [row["name"] for row in shown.runs.rows] == ["done"]
    assert enabled(shown) == ["Start"]


def test_a_served_page_reaches_no_folder_outside_runs(
    make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = make_panel()
    field = shown.choice.run_form.fields["out"]
    field.control.value = str(tmp_path / "elsewhere")
    assert enabled(shown) == ["Start"]
    monkeypatch.setenv("VOILA_KERNEL_ID", "some")
    (tmp_path / "runs").mkdir(exist_ok=True)
    (tmp_path / "runs" / "link").symlink_to(tmp_path)
    for out in (str(tmp_path / "elsewhere2"), "~/x", "~nobody-here/x", "link/x"):
        field.control.value = out
        assert "allowed on a served page: a name below runs/" in shown.message.value
        assert enabled(shown) == []
    field.control.value = "mine"
    assert enabled(shown) == ["Start"]


def visit(monkeypatch: pytest.MonkeyPatch, kernel: str, query: str = "") -> Panel:
    monkeypatch.setenv("VOILA_KERNEL_ID", kernel)
    monkeypatch.setenv("QUERY_STRING", query)
    return Panel(live=True)


def test_a_visitor_sees_and_stops_no_run_of_another_and_finds_the_own_again(
    make_panel: Any, launched: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running(tmp_path / "runs" / "of-the-host")
    first = visit(monkeypatch, "one")
    assert first.runs.rows == []
    assert enabled(first) == ["Start"]
    first.start()
    (launched[0].path / "status.json").write_text(RUNNING % os.getpid())
    (address,) = re.findall(r"href='(\?visitor=[0-9a-f]{32})'", first.widget.children[0].children[1].value)
    assert "one" not in address
    assert first.runs.address == address, "a page that is loaded again asks for them"
    second = visit(monkeypatch, "two")
    assert second.runs.rows == []
    second.runs._hear(second.runs, {"do": "delete", "name": f"../{first.root.name}/{launched[0].name}"}, [])
    assert "is no run folder" in second.runs.said
    second.runs._hear(second.runs, {"do": "delete", "name": str(launched[0].path.absolute())}, [])
    assert "leads out of your own runs" in second.runs.said
    assert launched[0].exists()
    second.widget.selected_index = panel.PAGES.index("Compare")
    assert second.compare is not None
    assert second.compare.runs == {}
    back = visit(monkeypatch, "three", address[1:])
    assert back.live.folder.path == launched[0].path
    for query in ("visitor=" + "0" * 32, "visitor=../../" + "0" * 26):
        assert visit(monkeypatch, "four", query).live.folder is None
    monkeypatch.delenv("VOILA_KERNEL_ID")
    host = Panel(live=True)
    assert {Path(name).name for name in host.runs.folders} == {"of-the-host", launched[0].name}
    host.close()


def test_the_presets_are_those_of_the_method(make_panel: Any) -> None:
    fields = make_panel().choice.run_form.fields
    fields["preset"].value = "cifar"
    fields["method"].value = "alone"
    assert fields["preset"].control.options == ("auto", *METHODS["alone"].presets)
    assert fields["preset"].value in fields["preset"].control.options


def test_before_the_start_the_panel_says_what_the_run_takes(make_panel: Any) -> None:
    choice = make_panel().choice
    assert "34 rounds (the first 4 only synthesize), 272 synthesis steps, 1,200 student steps" in choice.ahead.value
    assert "steps of 128 images each." in choice.ahead.value
    assert status.WARNING not in choice.ahead.value
    choice.run_form.value = {"rounds": 3}
    assert "3 rounds (all only synthesize), 24 synthesis steps, none of the student" in choice.ahead.value
    assert f"color: {status.WARNING}'>The student learns in 0 of 3 rounds" in choice.ahead.value
    choice.run_form.value = {"rounds": 34}
    choice.method_form.fields["s_steps"].value = 20
    assert "600 student steps" in choice.ahead.value
    choice.method_form.fields["s_steps"].control.value = "none"
    assert choice.ahead.value == ""


def test_a_folder_of_another_spec_is_refused_and_escaped(
    make_panel: Any, launched: list[RunFolder], tmp_path: Path
) -> None:
    name = "<b>mine<|b>"
    prepare(plan(method="dafl", out=str(tmp_path / "runs" / name)))
    shown = make_panel()
    shown.choice.run_form.fields["out"].value = name
    shown.buttons["Start"].click()
    assert "holds a run of another spec" in shown.message.value
    assert "<b>" not in shown.message.value
    assert not launched


def test_a_child_that_dies_before_it_begins_says_why(make_panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "launch", lambda folder, trust_code: Child(code=2))
    shown = make_panel()
    shown.choice.run_form.fields["teacher"].value = "digit"
    shown.buttons["Start"].click()
    if shown.live.folder:  # the library may refuse the name at once
        (shown.live.folder.path / "log.txt").write_text("Traceback\nValueError: <script>no such teacher\n\n")
        shown.live.refresh()
        assert "failed</b>" in shown.live.status.value
        assert "ValueError: &lt;script&gt;no such teacher" in shown.live.alarms.value
        assert "no such teacher" not in shown.live.status.value, "once is enough"
        assert shown.live.chart.drawn.layout.annotations[-1].text == live.EMPTY["failed"]
        assert enabled(shown) == ["Start", "Resume"]


def test_buttons_write_requests(make_panel: Any, launched: list[RunFolder], tmp_path: Path) -> None:
    folder = running(tmp_path / "runs" / "one")
    shown = make_panel()
    shown.live.refresh()
    request = lambda: (folder.path / "control").read_text()  # noqa: E731
    assert shown.live.folder.path == folder.path, "a live run is found on construction"
    assert enabled(shown) == ["Pause", "Stop"]
    shown.buttons["Pause"].click()
    assert request() == "pause"
    (folder.path / "status.json").write_text((RUNNING % os.getpid()).replace("running", "paused"))
    shown.live.refresh()
    assert enabled(shown) == ["Resume", "Stop"]
    shown.buttons["Resume"].click()
    assert request() == "run"
    shown.buttons["Stop"].click()
    assert request() == "stop"
    (folder.path / "status.json").write_text((RUNNING % os.getpid()).replace("running", "stopped"))
    shown.live.refresh()
    shown.buttons["Resume"].click()
    assert [each.path for each in launched] == [folder.path]


@pytest.mark.parametrize(
    ("click", "sentence", "left", "reached"),
    [
        ("Pause", "Pausing at the next step", ["Resume", "Stop"], "paused"),
        ("Stop", "Stopping after this round", [], "stopped"),
    ],
)
def test_a_click_is_answered_before_the_disk_and_the_run_answer(
    make_panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, click: str, sentence: str, left: list[str],
    reached: str,
) -> None:  # fmt: skip
    folder = running(tmp_path / "runs" / "one")
    shown = make_panel()
    shown.live.refresh()
    seen: list[tuple[str, list[str]]] = []
    look = lambda: (shown.message.value, enabled(shown))  # noqa: E731
    monkeypatch.setattr(RunFolder, "request", lambda folder, request: seen.append(look()))
    shown.buttons[click].click()
    ((said, buttons),) = seen
    assert sentence in said
    assert buttons == left
    shown.live.refresh()
    assert sentence in shown.message.value, "the run is at work, and the panel keeps saying what was asked"
    (folder.path / "status.json").write_text((RUNNING % os.getpid()).replace("running", reached))
    shown.live.refresh()
    assert shown.message.value == ""
    assert "Resume" in enabled(shown)


def test_a_click_after_the_state_it_asks_for_keeps_no_button_away(make_panel: Any, tmp_path: Path) -> None:
    folder = running(tmp_path / "runs" / "one")
    shown = make_panel()
    shown.live.refresh()
    (folder.path / "status.json").write_text((RUNNING % os.getpid()).replace("running", "finished"))
    shown.live.refresh()
    shown._request("stop", "stopping")  # the click was on its way while the run ended
    assert enabled(shown) == []
    shown.live.refresh()
    assert enabled(shown) == ["Start"]
    assert shown.message.value == ""


def test_buttons_that_two_threads_set_at_once_are_right_at_the_next_look(make_panel: Any, make_folder: Any) -> None:
    shown = make_panel()
    shown.attach(make_folder("done"))
    shown.live.refresh()
    shown.buttons["Start"].disabled = True
    shown.live.refresh()
    assert enabled(shown) == ["Start"]


def test_what_stands_where_no_point_is_yet_is_true(make_panel: Any, tmp_path: Path) -> None:
    shown = make_panel()
    note = lambda: shown.live.chart.drawn.layout.annotations[-1].text  # noqa: E731
    assert "press Start" in note()
    folder = running(tmp_path / "runs" / "on")
    shown.attach(folder)
    for view in ("accuracy", "cost"):
        shown.live.view.value = view
        shown.live.refresh()
        assert note() == live.WAITING
    status_file = folder.path / "status.json"
    status_file.write_text(status_file.read_text().replace("running", "stopped"))
    shown.live.refresh()
    assert note() == live.EMPTY["stopped"]


def test_a_pause_that_was_not_reached_can_be_taken_back(make_panel: Any, tmp_path: Path) -> None:
    folder = running(tmp_path / "runs" / "one")
    shown = make_panel()
    shown.live.refresh()
    shown.buttons["Pause"].click()
    shown.buttons["Resume"].click()
    assert (folder.path / "control").read_text() == "run"
    assert enabled(shown) == ["Pause", "Stop"]


def test_attaching_shows_a_finished_run(make_panel: Any, make_folder: Any) -> None:
    folder = make_folder("done")
    shown = make_panel()
    assert shown.live.folder is None
    shown.runs.watch("done")
    shown.live.refresh()
    accuracies = [event["accuracy"] for event in events_of(folder)]
    assert shown.live.chart.drawn.data[0].y == pytest.approx(accuracies)
    assert base64.b64encode(folder.samples()[2].read_bytes()).decode() in str(shown.live.samples.grid.content)
    assert "finished</b> · round 2 of 2" in shown.live.status.value
    assert enabled(shown) == ["Start"]
    shown.leave.click()
    shown.live.refresh()
    assert len(shown.live.chart.drawn.data[0].x) == 0


def test_a_run_that_has_ended_says_how_it_was_watched(make_panel: Any, make_folder: Any) -> None:
    folder = make_folder("done")
    shown = make_panel()
    shown.attach(folder)
    shown.live.refresh()
    assert "the distillation was watched in 2 of 2 rounds, and read no real data" in shown.live.status.value
    (folder.path / "seal.json").write_text('{"sessions": [{"sealed_rounds": 1, "violations": []}]}')
    shown.live.refresh()
    assert "was watched in 1 of 2 rounds; what the others read is not known" in shown.live.status.value


def test_the_settings_of_a_run_can_be_taken(make_panel: Any, launched: list[RunFolder], tmp_path: Path) -> None:
    values = {"rounds": 3, "seed": 4, "memory": "vae", "s_steps": 6, "z_dim": 12, "checkpoint_s": 7}
    spec = plan(method="fast", preset="paper", **values, out=str(tmp_path / "runs" / "first"))
    folder = prepare(spec)
    shown = make_panel()
    assert shown.take.disabled
    shown.attach(folder)
    assert shown.choice.run_form.fields["method"].value != "fast", "what somebody may be writing is left alone"
    shown.take.click()
    assert record(plan(shown.choice.values()).spec) == record(dataclasses.replace(spec.spec, out=""))
    shown.buttons["Start"].click()
    assert launched[0].path != folder.path


def test_a_panel_that_opens_on_a_run_shows_its_settings(make_panel: Any, tmp_path: Path) -> None:
    running(tmp_path / "runs" / "on")
    shown = make_panel()
    assert shown.live.folder.name == "on"
    assert shown.choice.run_form.fields["method"].value == "dafl"
    assert shown.choice.run_form.fields["rounds"].value == 2


def test_a_resumed_run_that_forgot_rounds_is_read_again(make_panel: Any, make_folder: Any) -> None:
    folder = make_folder("done")
    shown = make_panel()
    shown.attach(folder)
    shown.live.refresh()
    events = folder.path / "events.jsonl"
    replacement = events.with_suffix(".new")
    replacement.write_text(events.read_text().split("\n")[0] + "\n")
    replacement.replace(events)
    shown.live.refresh()
    assert len(shown.live.chart.drawn.data[0].x) == 1


def test_nothing_is_left_behind(make_panel: Any) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    shown = make_panel()
    shown.choice.run_form.fields["method"].value = "dafl"
    shown.close()
    left = [ipywidgets.widgets.widget._instances[each] for each in set(ipywidgets.widgets.widget._instances) - before]
    assert left == []


def test_the_comparison_reads_when_it_is_turned_to(make_panel: Any, make_folder: Any) -> None:
    make_folder("one")
    shown = make_panel()
    assert shown.widget.titles == panel.PAGES
    assert not shown.compared.children
    shown.widget.selected_index = panel.PAGES.index("Compare")
    assert shown.compare.list.value == ("one",)
    shown.widget.selected_index = 0
    running(shown.root / "two")
    shown.widget.selected_index = panel.PAGES.index("Compare")
    assert set(shown.compare.runs) == {"one", "two"}
    assert len(shown.compared.children) == 1


def test_the_comparison_opens_with_the_runs_that_are_marked(make_panel: Any, make_folder: Any) -> None:
    folder = make_folder("a")
    for name in "bc":
        shutil.copytree(folder.path, folder.path.with_name(name))
    shown = make_panel()
    turn = lambda name: setattr(shown.widget, "selected_index", panel.PAGES.index(name))  # noqa: E731
    turn("Compare")
    assert len(shown.compare.chosen) == 2
    shown.compare.list.value = ("a",)
    turn("Run")
    turn("Compare")
    assert shown.compare.chosen == ["a"], "what is chosen there stays while the marks do"
    turn("Run")
    shown.runs.marked = ["c", "b", "gone"]
    turn("Compare")
    assert shown.compare.chosen == ["c", "b"]
    turn("Run")
    shown.runs.marked = []
    turn("Compare")
    assert shown.compare.chosen == []


def test_what_is_renamed_or_deleted_while_it_is_watched_is_watched_again(make_panel: Any, make_folder: Any) -> None:
    folder = make_folder("done")
    shown = make_panel()
    shown.runs.watch("done")
    shown.runs.change("done", "better", "kept")
    assert shown.live.folder.path == folder.path.with_name("better")
    shown.live.refresh()
    assert "finished</b>" in shown.live.status.value
    shown.runs.delete("better")
    assert not shown.live.folder
    assert enabled(shown) == ["Start"]
    shown.runs.undo()
    assert shown.live.folder.path == folder.path.with_name("better")
    assert len(shown.live.folder.reports()) == 2


def test_what_starts_or_waits_in_the_queue_stays_where_it_is(
    make_panel: Any, launched: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    shown = make_panel()
    waits = prepare(plan(method="dafl", rounds=2, out=str(tmp_path / "runs" / "waits")))
    shown.queue.order.add([waits])
    shown.choice.run_form.value = {"method": "dafl", "rounds": 3}
    shown.start()
    for name, reason in (("waits", "waits in the queue; cancel it there first"), (launched[0].name, "is starting")):
        for message in ({"do": "delete"}, {"do": "change", "to": "other", "note": "", "tags": ""}):
            shown.runs._hear(shown.runs, {**message, "name": name}, [])
            assert reason in shown.runs.said
            assert shown.runs.alert
            assert (tmp_path / "runs" / name / "spec.yaml").exists()


def test_twenty_runs_leave_no_widget_behind(make_panel: Any, make_folder: Any) -> None:
    folder, shown = make_folder("done"), make_panel()
    shown.attach(folder)
    shown.live.refresh()
    before = len(ipywidgets.widgets.widget._instances)
    for method in ("dafl", "ssd_kd") * 10:
        shown.choice.run_form.fields["method"].value = method
        shown.choice.method_form.fields["g_lr"].control.value = "many"
        shown.choice.fill()
        shown.attach(folder)
        shown.live.refresh()
        shown.attach(None)
        shown.live.refresh()
    shown.attach(folder)
    shown.live.refresh()
    assert len(ipywidgets.widgets.widget._instances) == before


def test_a_second_panel_closes_the_first(make_panel: Any) -> None:
    first, second = make_panel(), make_panel()
    assert first.live._closing.is_set()
    assert not second.live._closing.is_set()


def test_every_view_of_a_run_is_as_high_and_keeps_the_zoom_of_its_own(make_panel: Any, make_folder: Any) -> None:
    shown = make_panel()
    zooms = []
    for folder in (make_folder("one"), make_folder("two")):
        shown.attach(folder)
        for name in shown.live.view.options:
            shown.live.view.value = name
            shown.live.refresh()
            layout = shown.live.chart.figure["layout"]
            assert layout["height"] == live.HEIGHT
            zooms.append(layout["uirevision"])
    assert len(set(zooms)) == len(zooms) == 2 * (len(views.VIEWS) - 1), (
        "the one of confused pixels is for segmentations"
    )


def test_the_pump_reads_by_itself(make_folder: Any, tmp_path: Path) -> None:
    folder = make_folder("done")
    view = live.Live()
    view.attach(folder)
    view.start()
    end = time.monotonic() + 120
    while "finished" not in view.status.value and time.monotonic() < end:
        time.sleep(0.05)
    view.close()
    assert "finished" in view.status.value


def test_headless_there_is_a_sentence_and_no_widget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    monkeypatch.setenv(status.LIVE_VARIABLE, "0")
    assert "JupyterLab" in Panel(tmp_path)._repr_mimebundle_()["text/html"]
    assert set(ipywidgets.widgets.widget._instances) == before


def test_slots_are_drawn_replaced_and_refused_in_the_panel(make_panel: Any, launched: list[RunFolder]) -> None:
    shown = make_panel()
    shown.choice.run_form.fields["method"].value = "ssd_kd"
    assert "PriorityBuffer" in shown.choice.picture.value
    fields = shown.choice.slot_form.fields
    assert "vae" in fields["memory"].control.options
    fields["memory"].value = "vae"
    assert "VAEMemory" in shown.choice.picture.value
    assert "PriorityBuffer" not in shown.choice.picture.value
    fields["synthesizer"].value = "pixels"
    assert "no source to draw from" in shown.message.value
    fields["synthesizer"].value = ""
    assert shown.message.value == ""
    shown.buttons["Start"].click()
    assert launched[0].spec().memory == "vae"
    assert launched[0].name == "ssd_kd+memory_vae-digits-convnet_8-seed0"


def test_what_follows_from_the_networks_is_shown_and_run(make_panel: Any, tmp_path: Path) -> None:
    choice = make_panel().choice
    plain = teachers.adopt("plain", nets.classifier("lenet5", 1, 10), (1, 16, 16), 10, "digits", tmp_path)
    choice.run_form.fields["teacher"].control.value = plain
    choice.run_form.fields["student"].control.value = "lenet5_half"
    assert (choice.method_form.value["s_lr"], choice.method_form.value["bn_gap"]) == (4e-3, 0)
    assert "All as in preset" in choice.changes.value
    assert "has no batch norm: adam at s_lr = 0.004" in html.unescape(choice.ahead.value)
    assert "The teacher keeps no batch-norm statistics" in choice.ahead.value
    assert (choice.resolved.optimizer, choice.resolved.terms) == ("adam", "balance=5,activation=0.1")
