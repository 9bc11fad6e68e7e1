import copy
import dataclasses
import html
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab import RunSpec, Session, plan, teachers
from dfkd_lab.methods.dafl import DAFL
from dfkd_lab.nets.wrap import Frozen
from widgets import cards
from widgets.cards import Cards
from widgets.choice import Choice


def until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not look():
        assert time.monotonic() < end, "not within 120 s"
        time.sleep(0.01)


def test_a_teacher_and_a_student_are_described(digits_cache: Path) -> None:
    shown = Cards()
    teacher = teachers.load("digits")
    shown.show(plan(method="dafl"))
    until(lambda: "(450 images)" in shown.teacher.value)
    facts = teacher.describe()
    for fact in ("Teacher digits", f"convnet_32, {facts['parameters']:,} parameters, 3 batch-norm layers",
                 "10 classes, images 1 x 16 x 16", "mean 0.3053, std 0.3312", teacher.sha256[:12]):  # fmt: skip
        assert fact in shown.teacher.value
    measured = float(shown.teacher.value.split("accuracy ")[1].split()[0])
    assert measured > 0.95
    student = sum(each.numel() for each in teachers.student_of(teacher.card, "convnet_8").parameters())
    for fact in (f"{student:,} parameters", f"{facts['parameters'] / student:.3g} times smaller"):
        assert fact in shown.student.value


def test_a_teacher_that_is_being_trained_has_no_digest_yet() -> None:
    facts = teachers.load("digits").describe()
    assert f"sha256 {facts['sha256'][:12]}; trained on digits" in cards.teacher_card(facts, "")
    assert f"<div>sha256 {facts['sha256'][:12]}</div>" in cards.teacher_card({**facts, "data": ""}, "")
    assert not re.search("sha256|trained on", cards.teacher_card({**facts, "sha256": ""}, "being trained ..."))


def test_asking_does_not_wait_and_a_stale_answer_is_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go, loaded, load = threading.Event(), list[str](), teachers.load

    def slow(name: str, normalization: str, data: str) -> Any:
        loaded.append(Path(name).stem)
        go.wait(120)
        return load(name, normalization, data)

    digits = load("digits")
    net: Any = digits.model.net
    for number, name in enumerate(("first", "second", "third"), 1):  # none of them was measured before
        net.fc.bias.data += 1e-3 * number
        teachers.save(digits.model, digits.card, tmp_path / f"{name}.safetensors")
    chosen = lambda name, student: plan(teacher=str(tmp_path / f"{name}.safetensors"), student=student)  # noqa: E731
    plans = [chosen("first", "convnet_8"), chosen("second", "convnet_8"), chosen("third", "convnet_16")]
    monkeypatch.setattr(teachers, "load", slow)
    shown = Cards()
    shown.show(plans[0])
    until(lambda: loaded == ["first"])
    shown.show(plans[1])
    shown.show(plans[2])
    assert "being measured" in shown.teacher.value
    assert "third" in shown.teacher.value
    go.set()
    until(lambda: "(450 images)" in shown.teacher.value)
    assert "Student convnet_16" in shown.student.value
    assert loaded == ["first", "third"], "what nobody wants any more is not loaded"
    kept = Cards()
    kept.show(plan(teacher=str(tmp_path / "third.safetensors")))
    assert "(450 images)" in kept.teacher.value, "what was measured before is known at once"


def test_without_an_evaluation_set_nothing_is_measured() -> None:
    shown = Cards()
    shown.show(plan(data="none"))
    assert "no evaluation set is chosen" in shown.teacher.value


def test_a_missing_file_is_a_sentence_and_names_are_escaped() -> None:
    shown = Cards()
    shown.show_found({"teacher": "<b>.safetensors", "normalization": "auto", "data": "digits", "student": "convnet_8"})
    assert "there is no file" in shown.teacher.value
    assert "<b>.safe" not in shown.teacher.value
    shown.show_found({"teacher": "digits", "normalization": "auto", "data": "digits", "student": "convnet_9"})
    assert "Teacher digits" in shown.teacher.value
    assert "did you mean" in shown.student.value


def test_what_is_known_of_a_teacher_stays_while_another_field_is_wrong(digits_cache: Path) -> None:
    shown = Cards()
    shown.show(plan(method="dafl"))
    until(lambda: "(450 images)" in shown.teacher.value)
    known, chosen = shown.teacher.value, {"teacher": "digits", "normalization": "auto", "data": "digits"}
    shown.show_found({**chosen, "student": "convnet_9"})
    assert shown.teacher.value == known
    shown.show_found({**chosen, "data": "digit", "student": "convnet_8"})
    assert "Teacher digits" in shown.teacher.value
    assert "accuracy not measured" in shown.teacher.value, "on that there is nothing"


def test_a_card_does_not_say_again_what_is_said_elsewhere(monkeypatch: pytest.MonkeyPatch, digits_cache: Path) -> None:
    shown, problem = Cards(), "there is no file missing.safetensors"
    chosen = {"teacher": "missing.safetensors", "normalization": "auto", "data": "digits", "student": "convnet_8"}
    shown.show_found(chosen)
    assert problem in shown.teacher.value
    said = shown.teacher.value.partition("<div>")[2].partition("</div>")[0]
    shown = Cards()
    shown.show_found(chosen, f"teacher: {html.unescape(said)}")
    assert problem not in shown.teacher.value
    heard: list[str] = []
    shown = Cards(lambda: heard.append(shown.problem))
    monkeypatch.setattr(cards, "accuracy", lambda *asked: (f"{cards.UNREADABLE}no test_batch", ""))
    monkeypatch.setattr(teachers, "kept_measurement", lambda *asked: None)
    shown.show(dataclasses.replace(plan(method="dafl"), calibration=None))
    until(lambda: bool(heard))
    assert heard == ["no test_batch"]
    assert "accuracy not measured<" in shown.teacher.value


def test_a_normalization_that_is_wrong_is_said(digits_cache: Path) -> None:
    teacher = teachers.load("digits")
    wrong = dataclasses.replace(teacher, model=Frozen(teacher.model.net, (0.9,), (0.05,)), sha256="wrong")
    measured, warning = cards.accuracy(wrong, "digits")
    assert measured.startswith("not measured: the teacher's normalization looks wrong")
    assert warning == ""


def test_a_teacher_that_distils_badly_is_warned_of(digits_cache: Path) -> None:
    teacher = teachers.load("digits")
    net: Any = copy.deepcopy(teacher.model.net)
    net.fc.weight.data *= 0.2  # as right, and much less sure, as after label smoothing
    net.fc.bias.data *= 0.2
    model = Frozen(net, teacher.card.mean, teacher.card.std)
    measured, warning = cards.accuracy(dataclasses.replace(teacher, model=model, sha256="other"), "digits")
    assert "calibration error" in measured
    assert "less sure than right" in warning
    assert "Warning: less sure" in cards.teacher_card(teacher.describe(), measured, warning)
    assert "Warning" not in cards.teacher_card(teacher.describe(), *cards.accuracy(teacher, "digits"))


def test_the_students_size_draws_no_random_number(digits_cache: Path) -> None:
    facts = teachers.load("digits").describe()
    before = torch.get_rng_state()
    assert "1 times smaller" in cards.student_card("convnet_32", facts)
    assert "4 times as large as the teacher" in cards.student_card("convnet_32", {**facts, "parameters": 94186 / 4})
    assert torch.equal(torch.get_rng_state(), before)


def test_a_teacher_that_cannot_be_trained_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(cards, "TRAIN", "raise SystemExit('no disk')")
    shown = Cards()
    shown.show(plan(method="dafl"))
    assert "being trained" in shown.teacher.value
    until(lambda: "could not be trained: no disk" in shown.teacher.value)


def test_plan_cards_diagram_and_session_compose_once_between_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    composed, compose = list[str](), DAFL.compose
    monkeypatch.setattr(DAFL, "compose", lambda self, context: composed.append("once") or compose(self, context))
    choice = Choice(lambda: None, Path("runs"))
    choice.take(RunSpec(method="dafl", rounds=2))
    choice.method_form.value = {"cycles": 1, "batch": 8, "width": 4}
    choice.run_form.fields["out"].value = str(tmp_path / "run")
    composed.clear()
    choice.run_form.fields["seed"].control.value = "5"
    assert choice.problem == ""
    until(lambda: "being measured" not in choice.cards.teacher.value)
    assert len(list(Session(choice.resolved))) == 2
    assert composed == ["once"]
    choice.close()
