"""The command that is copied gives the run it is copied from, at every door."""

import ast
import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
from papermill.cli import _resolve_type  # how papermill reads -p

from dfkd_lab import METHODS, plan
from dfkd_lab.cli import flags
from dfkd_lab.runs import commands, default_folder
from dfkd_lab.spec import RunSpec

MORE: list[dict[str, Any]] = [
    {"method": "ssd_kd", "capacity": 123, "bn_gap": 0.5, "seed": 3, "rounds": 7},
    {"method": "fast", "terms": "bn_gap=2,balance=0.5", "memory": "priority", "flip": True},
    {"method": "kd", "data": "digits", "evaluate_every": 2, "optimizer": "adam", "deterministic": True},
    {"method": "dafl", "data": "none", "preset": "paper", "compile": "no", "precision": "fp32"},
    {"method": "ssd_kd", "teacher": "scenes", "student": "unet_12", "data": "scenes", "flip": False},
]


def given(script: str) -> dict[str, Any]:
    """The arguments of ``plan`` in a script."""
    calls = [each for each in ast.walk(ast.parse(script)) if isinstance(each, ast.Call)]
    (call,) = [each for each in calls if isinstance(each.func, ast.Name) and each.func.id == "plan"]
    return {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg}


def as_planned(values: dict[str, Any]) -> RunSpec:
    return dataclasses.replace(plan(values).spec, out="")


@pytest.mark.parametrize("values", [*({"method": name} for name in METHODS), *MORE], ids=str)
def test_each_command_gives_the_spec_it_was_made_of(values: dict[str, Any]) -> None:
    spec = as_planned(values)
    deciding = commands.deciding(spec)
    assert set(deciding) <= {*values, "method", "settings"}, "what the preset gives is not repeated"
    method, *words = shlex.split(commands.in_a_shell(deciding).removeprefix("python -m dfkd_lab run "))
    assert as_planned({"method": method, **flags.parse(method, words)}) == spec
    mkdir, papermill = commands.for_papermill(deciding, spec).split(" && ")
    notebook, out, *pairs = shlex.split(papermill.removeprefix("papermill "))
    assert (mkdir, notebook) == ("mkdir -p runs", "notebooks/10_run.ipynb")
    assert out.startswith(f"runs/{method}")
    assert set(pairs[::3]) == {"-p"}
    assert (
        as_planned({name: _resolve_type(value) for name, value in zip(pairs[1::3], pairs[2::3], strict=True)}) == spec
    )
    assert as_planned(given(commands.in_python(deciding))) == spec


def test_what_a_shell_would_read_is_quoted() -> None:
    values = {"method": "dafl", "teacher": "my teacher; rm.pth", "out": "$(x)"}
    assert "--teacher 'my teacher; rm.pth' --out '$(x)'" in commands.in_a_shell(values)
    assert "-p teacher 'my teacher; rm.pth'" in commands.for_papermill(values, RunSpec())


def test_a_run_in_a_folder_of_its_own_name_is_given_it_and_one_in_the_usual_is_not() -> None:
    spec = as_planned({"method": "dafl"})
    for out, said in (
        ("my try", {"out": "my try"}),
        ("runs/lesson/one", {"out": "lesson/one"}),
        (str(default_folder(spec)), {}),
        ("", {}),
    ):
        values = commands.deciding(dataclasses.replace(spec, out=out))
        assert values == {"method": "dafl", **said}
    assert "--out 'my try'" in commands.in_a_shell({"method": "dafl", "out": "my try"})
    assert "'runs/my try.ipynb'" in commands.for_papermill({}, dataclasses.replace(spec, out="my try"))


def test_what_is_said_in_the_notebooks_folder_is_said_of_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "own.py").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    for here, there in (
        ("../runs/a/student.safetensors", "runs/a/student.safetensors"),
        ("resnet20@../a.pth", "resnet20@a.pth"),
        ("folder:../images", "folder:images"),
        ("folder-pairs:../a,../b", "folder-pairs:a,b"),
        ("own.py:Net", "notebooks/own.py:Net"),
        ("digits", "digits"),
        ("/data/a.pth", "/data/a.pth"),
    ):
        assert commands.from_the_root(here) == there
    monkeypatch.chdir(tmp_path)
    assert commands.from_the_root("../a.pth") == "../a.pth"


@pytest.mark.parametrize("name", ["007", "1e5", "True", "None", "nan", "a.pth"])
def test_papermill_reads_a_name_as_a_name(name: str) -> None:
    *_, flag, setting, value = shlex.split(commands.for_papermill({"teacher": name}, RunSpec()))
    assert (setting, value) == ("teacher", name)
    assert flag == "-r" or _resolve_type(value) == name


def test_a_file_is_told_from_a_flag() -> None:
    words = shlex.split(commands.in_a_shell({"method": "dafl", "teacher": "-t.pth", "g_lr": 0.5}))
    assert words[-4:] == ["--teacher", "./-t.pth", "--g-lr", "0.5"]
    assert flags.parse("dafl", words[-4:]) == {"teacher": "./-t.pth", "g_lr": 0.5}
