"""The examples of docs/extending.md work as they stand, and what they add is as good as what is there."""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab import METHODS, RunFolder, Session, data, methods, nets, plan, register_method
from dfkd_lab.errors import SpecError
from dfkd_lab.methods import catalogue, composition
from dfkd_lab.spec import setting
from tests.support import ROOT, tiny

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = dict(re.findall(r"^## A (.*?)\n.*?```python\n(.*?)```", TEXT, re.S | re.M))


@pytest.fixture
def examples() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": __name__}
    for block in BLOCKS.values():
        exec(block, names)
    return names


def test_every_kind_has_an_example() -> None:
    assert list(BLOCKS) == ["loss", "memory", "method", "data set", "network"]


def test_the_method_of_the_example_learns_names_its_loss_and_resumes(examples: dict[str, Any], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    session = Session(plan(method="margin", student="linear", rounds=2, data="none", seed=3, out=out, margin=2))
    for report in session:
        assert "margin" in report.terms
        assert report.memory["capacity"] == 500
        session.stop()
    (last,) = Session(RunFolder(out).spec())
    assert last.round == 2
    del methods.METHODS["margin"]
    with pytest.raises(SpecError, match=r"'margin' is not a method; .*and what register_method makes known"):
        Session(RunFolder(out).spec())


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("ssd_kd", {}, "method 'ssd_kd' is taken"),
        ("ring", {}, "method 'ring' is taken"),
        ("last_batch", {}, "method 'last_batch' is taken"),
        ("my method", {}, "method 'my method' is no name"),
        ("mine", {"presets": {}}, "lacks the preset 'paper'"),
        ("mine", {"presets": ["paper"]}, "lacks presets"),
        ("mine", {"presets": {"paper": {"rounds": 9, "margni": 2}}}, "'paper' that cannot be: 'margni' .* 'margin'"),
        ("mine", {"presets": {"paper": {"rounds": 0}}}, "'paper' with rounds = 0; allowed: a whole number, at least 1"),
        ("mine", {"presets": {"paper": {"rounds": "5"}}}, "'paper' with rounds = '5'"),
        ("mine", {"presets": {"paper": {}}}, "'paper' with rounds = 0"),
        ("mine", {"presets": {"paper": {"rounds": 5}, "mine": {}}}, "has a preset 'mine'; allowed: paper, digits"),
        ("mine", {"presets": {"paper": {"rounds": 5}, "auto": {}}}, "has a preset 'auto'"),
        ("mine", {"presets": {"paper": {"rounds": 5}, "digits": None}}, "has a preset 'digits' that is no dictionary"),
        ("mine", {"citation": 5}, "lacks citation"),
        ("mine", {"compose": None}, "lacks compose"),
    ],
)
def test_what_cannot_be_a_method_is_refused(
    examples: dict[str, Any], name: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SpecError, match=sentence):
        register_method(name, type("Mine", (examples["Margin"],), changes))


def test_a_method_names_all_it_lacks_and_what_every_run_has() -> None:
    with pytest.raises(SpecError, match=r"lacks @dataclass\(frozen=True\), compose, citation, certainty, presets"):
        register_method("mine", type("Mine", (), {}))
    with pytest.raises(SpecError, match="is no class; register the class"):
        register_method("mine", METHODS["noise"]())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ([("device", str, setting("cpu", "where"))], "has a setting 'device', as every run has"),
        ([("eval", int, setting(1, "how"))], "has a setting 'eval', as every run has"),
        ([("flip", bool, setting(True, "a")), ("no_flip", bool, setting(True, "b"))], "'no_flip' and 'flip'"),
        ([("size", float, dataclasses.field(default=1.0))], "has a field 'size' that is no setting; write size: "),
        ([("size", int)], "has a field 'size' that is no setting"),
        ([("size", list, setting((), "sizes"))], "'size' of another type; allowed: bool, int, float, str"),
        ([("size", "Unknown", setting(1, "a size"))], "'size' of another type"),
    ],
)
def test_a_setting_that_some_door_cannot_show_is_refused(fields: list[Any], sentence: str) -> None:
    known = {
        "citation": "",
        "certainty": "",
        "presets": {"paper": {"rounds": 5}},
        "compose": lambda self, context: None,
    }
    with pytest.raises(SpecError, match=sentence):
        register_method("mine", dataclasses.make_dataclass("Mine", fields, frozen=True, namespace=known))


def test_a_registered_memory_needs_no_method(examples: dict[str, Any], tmp_path: Path) -> None:
    sizes = {**tiny("fast"), "warm_up": 0}
    del sizes["capacity"]
    resolved = plan(sizes, method="fast", preset="digits", memory="last_batch:capacity=200", rounds=3, data="none",
                    out=str(tmp_path / "run"))  # fmt: skip
    session = Session(resolved)
    reports = list(session)
    assert type(session.run.recipe.memory) is examples["LastBatch"]
    assert reports[-1].memory["capacity"] == 200
    memory: Any = catalogue.recipe_of(composition.compose("fast", preset="digits", memory="last_batch")).memory
    own: Any = catalogue.compose_on_digits("fast").memory
    assert memory.capacity == own.capacity, "agreed upon with its host"


@pytest.mark.parametrize(
    ("memory", "sentence"),
    [
        ("last_bach", "did you mean 'last_batch'"),
        ("last_batch:capasity=3", "did you mean 'capacity'"),
        ("ring:capasity=3", "'capasity' is not a setting of ring; did you mean 'capacity'"),
        ("last_batch:capacity=1", "capacity = 1 is out of range"),
    ],
)
def test_a_registered_memory_is_checked_like_a_method(examples: dict[str, Any], memory: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        plan(method="fast", memory=memory)


@pytest.mark.parametrize(
    ("slot", "name", "sentence"),
    [
        ("memory", "vae", "taken"),
        ("memory", "fast", "taken"),
        ("memory", "last_batch", "taken"),
        ("memory", "two words", "no name"),
        ("memories", "mine", "did you mean 'memory'"),
    ],
)
def test_a_filling_needs_a_slot_and_a_name_of_its_own(
    examples: dict[str, Any], slot: str, name: str, sentence: str
) -> None:
    with pytest.raises(SpecError, match=sentence):
        composition.register_filling(slot, name, examples["LastBatchFilling"])


def test_the_data_set_and_the_network_of_the_examples(examples: dict[str, Any]) -> None:
    assert "kmnist" in data.EVALUATION_SETS
    assert nets.classifier("linear", 3, 7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_network_in_a_file_is_a_student_and_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^## Your own network.*?```python\n(.*?)```", TEXT, re.S | re.M)
    (tmp_path / "my.py").write_text(block)
    resolved = plan(method="dafl", student="my.py:MyNet")
    torch.save(resolved.composed.student.net.state_dict(), "weights.pth")
    resolved = plan(method="dafl", teacher="my.py:MyNet@weights.pth", normalization="digits")
    assert resolved.teacher.card.classes == 10


def test_a_method_is_one_file_and_one_line(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dfkd_lab", tmp_path / "dfkd_lab", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = [re.sub(r"^register_.*\n", "", BLOCKS[each], flags=re.M) for each in ("loss", "memory", "method")]
    file = tmp_path / "dfkd_lab" / "methods" / "margin.py"
    file.write_text('"""Margin: an example (nobody)."""\n' + "\n".join(blocks))
    front = tmp_path / "dfkd_lab" / "methods" / "__init__.py"
    front.write_text(front.read_text().replace('    "mad": "MAD",\n', '    "mad": "MAD",\n    "margin": "Margin",\n'))

    # one process, because each compiles the copy's text and reads torch
    commands = (
        ["methods", "--table"],
        ["run", "margin", "--margin", "-1"],
        ["run", "margin", "--rounds", "1", "--data", "none", "--out", "run"],
    )
    text = f"from dfkd_lab.__main__ import main\nfor words in {commands}:\n    print(main(words))"
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "`margin` | nobody's, an example" in said
    assert "margin = -1.0 is out of range" in said
    assert (tmp_path / "runs" / "run" / "student.safetensors").exists(), said
