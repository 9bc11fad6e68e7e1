"""One description of a run: what it accepts, and that every front end says the same."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import nbformat
import pytest
from papermill import inspect_notebook

from dfkd_lab.errors import SpecError
from dfkd_lab.methods import METHODS, own_settings
from dfkd_lab.spec import (
    RunSpec,
    allowed,
    build,
    parameters_cell,
    record,
    setting,
    setting_type,
    settings_of,
)

SPECS = {"run": RunSpec, **METHODS}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@dataclass(frozen=True)
class Knobs:
    balance: float = setting(5.0, "weight", low=0, high=100)
    steps: int = setting(10, "steps", low=1, unit="steps")
    flip: bool = setting(True, "mirror")
    how: str = setting("sum", "how to add", choices=("sum", "mean"))
    title: str = setting('a "quoted" one', "any text")


@pytest.mark.parametrize(
    ("values", "name", "wanted"),
    [
        ({"balance": 3}, "balance", 3.0),
        ({"balance": "1e-3"}, "balance", 1e-3),
        ({"balance": "3"}, "balance", 3.0),
        ({"balance": 0}, "balance", 0.0),
        ({"balance": 100.0}, "balance", 100.0),
        ({"steps": "3"}, "steps", 3),
        ({"steps": 3.0}, "steps", 3),
        ({"flip": "true"}, "flip", True),
        ({"flip": "False"}, "flip", False),
        ({"flip": "no"}, "flip", False),
        ({"how": "mean"}, "how", "mean"),
        ({"title": "3"}, "title", "3"),
    ],
)
def test_values_are_read_as_the_knobs_type(values: dict[str, Any], name: str, wanted: Any) -> None:
    found = getattr(build(Knobs, values), name)
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"balanse": 1}, "'balanse' is not a setting of Knobs; did you mean 'balance'?"),
        ({"xyz": 1}, "'xyz' is not a setting of Knobs; known: balance, steps, flip, how, title"),
        ({"balance": "much"}, "balance = 'much' is not a number; allowed: a number 0 to 100"),
        ({"balance": None}, "balance = None is not a number; allowed: a number 0 to 100"),
        ({"balance": True}, "balance = True is not a number; allowed: a number 0 to 100"),
        ({"balance": [1.0]}, "balance = [1.0] is not a number; allowed: a number 0 to 100"),
        ({"balance": 100.5}, "balance = 100.5 is out of range; allowed: a number 0 to 100"),
        ({"balance": -1e-9}, "balance = -1e-09 is out of range; allowed: a number 0 to 100"),
        ({"balance": float("nan")}, "balance = nan is not finite; allowed: a number 0 to 100"),
        ({"balance": "inf"}, "balance = inf is not finite; allowed: a number 0 to 100"),
        ({"steps": 0}, "steps = 0 is out of range; allowed: a whole number at least 1 steps"),
        ({"steps": 2.5}, "steps = 2.5 is not a whole number; allowed: a whole number at least 1 steps"),
        ({"steps": "1e-3"}, "steps = '1e-3' is not a whole number; allowed: a whole number at least 1 steps"),
        ({"steps": True}, "steps = True is not a whole number; allowed: a whole number at least 1 steps"),
        ({"steps": float("inf")}, "steps = inf is not a whole number; allowed: a whole number at least 1 steps"),
        ({"flip": 1}, "flip = 1 is not true or false; allowed: true or false"),
        ({"flip": "maybe"}, "flip = 'maybe' is not true or false; allowed: true or false"),
        ({"how": "summ"}, "how = 'summ' is not a choice; did you mean 'sum'? (allowed: sum, mean)"),
        ({"how": "all"}, "how = 'all' is not a choice (allowed: sum, mean)"),
        ({"title": 3}, "title = 3 is not text; allowed: text"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        build(Knobs, values)
    assert str(error.value) == sentence


def test_settings_known_elsewhere_are_hinted_at() -> None:
    with pytest.raises(SpecError, match="did you mean 'rounds'"):
        build(Knobs, {"round": 3}, also=["rounds"])


def test_the_range_and_unit_are_in_the_help() -> None:
    assert settings_of(Knobs)["balance"].metadata["help"] == "weight [0..100]"
    assert settings_of(Knobs)["steps"].metadata["help"] == "steps [at least 1 steps]"
    assert allowed(Knobs, "how") == "'sum' or 'mean'"


@every_spec
def test_defaults_obey_their_own_ranges_and_survive_the_record(spec: type[Any]) -> None:
    default = spec()
    assert build(spec, record(default)) == default
    assert build(spec, json.loads(json.dumps(record(default)))) == default
    as_text = {
        name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in record(default).items()
    }
    assert build(spec, as_text) == default


@every_spec
def test_the_ends_of_every_range_are_allowed_and_what_is_beyond_is_not(spec: type[Any]) -> None:
    for name, each in settings_of(spec).items():
        for end, beyond in ((each.metadata.get("low"), -1), (each.metadata.get("high"), 1)):
            if end is not None:
                assert getattr(build(spec, {name: end}), name) == end
                with pytest.raises(SpecError, match=f"{name} = .* is out of range"):
                    build(spec, {name: end + beyond})


@pytest.mark.parametrize("spec", [*SPECS.values(), Knobs], ids=[*SPECS, "all kinds"])
def test_papermill_reads_the_parameters_cell_as_it_was_meant(spec: type[Any], tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell(parameters_cell(spec), metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "cell.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), path)
    found = inspect_notebook(str(path))
    assert list(found) == [each.name for each in fields(spec)]
    namespace: dict[str, Any] = {}
    exec(cell.source, namespace)
    assert {name: namespace[name] for name in found} == record(spec())
    for name, facts in found.items():
        assert facts["inferred_type_name"] == setting_type(spec, name).__name__
        assert facts["help"] == settings_of(spec)[name].metadata["help"]
        assert eval(facts["default"]) == getattr(spec(), name)


@pytest.mark.parametrize("name", METHODS)
def test_no_setting_of_a_method_is_called_like_a_setting_of_the_run(name: str) -> None:
    assert not settings_of(METHODS[name]).keys() & settings_of(RunSpec).keys()


@pytest.mark.parametrize("name", METHODS)
def test_presets_are_made_of_settings(name: str) -> None:
    for preset in METHODS[name].presets.values():
        build(METHODS[name], own_settings(preset))
        build(RunSpec, {setting: value for setting, value in preset.items() if setting in settings_of(RunSpec)})
        assert preset.get("rounds", 1) >= 1


def test_every_preset_can_be_chosen() -> None:
    choices = settings_of(RunSpec)["preset"].metadata["choices"]
    assert {preset for method in METHODS.values() for preset in method.presets} <= set(choices)
