from typing import Any

import ipywidgets
import pytest

from dfkd_lab import METHODS, RunSpec, SpecError
from dfkd_lab.methods import own_settings
from dfkd_lab.spec import build, record, setting_type, settings_of
from widgets import form
from widgets.form import CHANGED, INVALID, Form, written
from widgets.steps import LABELS


@pytest.mark.parametrize("method", METHODS.values())
def test_the_form_of_every_method_holds_its_defaults(method: type[Any]) -> None:
    assert Form(method).value == record(method())


@pytest.mark.parametrize("method", METHODS.values())
def test_what_the_form_says_builds_the_method(method: type[Any]) -> None:
    for preset in method.presets.values():
        wanted = build(method, own_settings(preset))
        form = Form(method)
        form.value = record(wanted)
        assert build(method, form.value) == wanted


@pytest.mark.parametrize("spec", [RunSpec, *METHODS.values()])
def test_every_field_has_its_help_and_its_type(spec: type[Any]) -> None:
    for name, field in Form(spec).fields.items():
        facts = settings_of(spec)[name].metadata
        assert field.control.tooltip == facts["help"]
        assert type(field.value) is setting_type(spec, name)
        if facts.get("choices"):
            assert field.control.options == facts["choices"]


def test_a_list_to_pick_from_and_a_list_of_suggestions() -> None:
    form = Form(
        RunSpec, ["student", "teacher"], choices={"student": ["convnet_8"]}, suggestions={"teacher": ["digits"]}
    )
    assert isinstance(form.fields["student"].control, ipywidgets.Dropdown)
    form.value = {"teacher": "my.safetensors", "unknown": 3}
    assert form.value == {"student": "convnet_8", "teacher": "my.safetensors"}


@pytest.mark.parametrize("typed", ["99999999", "-1", "1e-3", "2.5", "many", "", "nan", "1,00", "1e", "e"])
def test_what_is_not_allowed_stays_as_typed_and_is_marked_in_place(typed: str) -> None:
    form = Form(RunSpec, ["rounds"])
    field = form.fields["rounds"]
    field.control.value = typed
    assert field.control.value == typed
    assert INVALID in field.control._dom_classes
    assert "allowed: a whole number 0 to 10,000,000" in field.widget.children[1].value
    assert "rounds = " in field.problem
    with pytest.raises(SpecError):
        build(RunSpec, form.value)
    field.control.value = "12"
    assert form.value == {"rounds": 12}
    assert INVALID not in field.control._dom_classes
    assert field.widget.children == (field.control,)
    assert field.problem == ""


@pytest.mark.parametrize("typed", ["0,500", "00,500", "1,33"])
def test_a_comma_before_decimals_is_refused_not_read_as_thousands(typed: str) -> None:
    form = Form(RunSpec, ["checkpoint_s"])
    form.fields["checkpoint_s"].control.value = typed
    assert f"checkpoint_s = '{typed}' is not a number" in form.fields["checkpoint_s"].problem


@pytest.mark.parametrize(("typed", "meant"), [("1e3", 1000), ("1,000", 1000), ("1,234,567", 1234567), (" 12 ", 12)])
def test_numbers_may_be_typed_as_ranges_are_printed(typed: str, meant: int) -> None:
    form = Form(RunSpec, ["rounds", "checkpoint_s"])
    form.fields["rounds"].control.value = typed
    assert form.value["rounds"] == meant
    assert form.fields["rounds"].problem == ""
    form.fields["checkpoint_s"].control.value = "1,000.5"
    assert form.value["checkpoint_s"] == 1000.5


def test_a_field_can_be_blamed_and_taken_from_blame() -> None:
    form = Form(RunSpec, ["teacher", "data"])
    data = form.fields["data"]
    data.blame("data = 'cifar10': no <files>")
    assert INVALID in data.control._dom_classes
    assert "no &lt;files&gt;" in data.widget.children[1].value
    data.blame("")
    assert INVALID not in data.control._dom_classes
    assert data.widget.children == (data.control,)


def test_a_value_that_is_not_the_presets_looks_different() -> None:
    field = Form(METHODS["ssd_kd"]).fields["g_lr"]
    assert not field.changed, "there is nothing to compare with yet"
    field.preset = 0.003
    assert CHANGED not in field.control._dom_classes
    field.control.value = "0.004"
    assert CHANGED in field.control._dom_classes
    assert field.control.tooltip.endswith("the preset has 0.003")
    field.control.value = "3e-3"
    assert CHANGED not in field.control._dom_classes, "the same number, written in another way"


@pytest.mark.parametrize(("value", "text"), [(10.0, "10"), (0.003, "0.003"), (7, "7"), (True, "yes"), ("", "nothing")])
def test_values_are_written_as_people_type_them(value: object, text: str) -> None:
    assert written(value) == text


def test_a_closed_form_leaves_nothing_not_even_its_notes() -> None:
    before = set(ipywidgets.widgets.widget._instances)
    form = Form(RunSpec, ["rounds"])
    form.fields["rounds"].control.value = "many"
    form.fields["rounds"].control.value = "1"
    form.fields["rounds"].control.value = "none"
    form.close()
    assert set(ipywidgets.widgets.widget._instances) == before


def test_what_people_call_a_setting_is_whole_in_large_type_too() -> None:
    width = float(form.LABEL_WIDTH.removesuffix("em"))  # grows with the type
    assert max(map(len, LABELS.values())) + 2 <= width / 0.58, "bold letters and a mark, at 0.58 em each"
    field = form.Field(RunSpec, "preset", label=LABELS["preset"])
    assert field.control.style.description_width == form.LABEL_WIDTH
