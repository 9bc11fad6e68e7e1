import ipywidgets
import pytest

from dfkd_lab import METHODS, RunSpec, SpecError
from dfkd_lab.spec import build, kind, knobs, record
from widgets.form import Form


@pytest.mark.parametrize("method", METHODS.values())
def test_the_form_of_every_method_holds_its_defaults(method) -> None:
    assert Form(method).value == record(method())


@pytest.mark.parametrize("method", METHODS.values())
def test_what_the_form_says_builds_the_method(method) -> None:
    for preset in method.presets.values():
        wanted = build(method, {name: value for name, value in preset.items() if name != "rounds"})
        form = Form(method)
        form.value = record(wanted)
        assert build(method, form.value) == wanted


@pytest.mark.parametrize("spec", [RunSpec, *METHODS.values()])
def test_every_field_has_its_help_and_its_range(spec) -> None:
    for name, field in Form(spec).fields.items():
        facts = knobs(spec)[name].metadata
        assert field.tooltip == facts["help"]
        assert type(field.value) is kind(spec, name)
        if facts.get("low") is not None and kind(spec, name) is not bool:
            assert field.min == facts["low"]
        if facts.get("choices"):
            assert field.options == facts["choices"]


def test_a_list_to_pick_from_and_a_list_of_suggestions() -> None:
    form = Form(
        RunSpec, ["student", "teacher"], choices={"student": ["convnet_8"]}, suggestions={"teacher": ["digits"]}
    )
    assert isinstance(form.fields["student"], ipywidgets.Dropdown)
    form.value = {"teacher": "my.safetensors", "unknown": 3}
    assert form.value == {"student": "convnet_8", "teacher": "my.safetensors"}


def test_the_form_does_not_check_what_the_spec_checks() -> None:
    form = Form(RunSpec, ["rounds"])
    form.fields["rounds"].max = 10**9
    form.value = {"rounds": 10**8}
    with pytest.raises(SpecError, match="rounds = 100000000 is out of range"):
        build(RunSpec, form.value)
