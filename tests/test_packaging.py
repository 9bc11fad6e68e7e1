"""The set-up files agree with each other, and name nothing of the machine they were written on."""

import importlib
import re
import subprocess
import sys
import tomllib

import pytest
import torch
import torchvision
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dfkd_lab.errors import EnvironmentProblem
from dfkd_lab.system import environment
from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Escaped and grouped, so that this file does not match itself.
REGISTRY = r"pypi\.(?:org|python)|files\.pythonhosted|download\.pytorch\.org/whl|registry\.npmjs|repo\.anaconda"
MACHINE_PATH = r"(?<![\w.~})-])/(?:root|work|home|Users)/|/opt/(?:wheels|pypi)"


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_environment_yml_repeats_the_dependencies() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    assert pip[:2] == ["-c constraints.txt", "-e ."]
    assert sorted(pip[2:]) == sorted(PROJECT["dependencies"])


def test_constraints_are_exact_pins() -> None:
    pin = re.compile(r"[\w.-]+==[\w.]+( ; platform_system == \"Linux\")?")
    assert [line for line in constraint_lines() if not pin.fullmatch(line)] == []


def test_every_requirement_is_pinned_within_its_range() -> None:
    pins = {canonicalize_name(pin.name): pin for pin in map(Requirement, constraint_lines())}
    wanted = PROJECT["dependencies"] + [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    others = (each for each in map(Requirement, wanted) if each.name != PROJECT["name"])  # an extra may hold another
    for requirement in others:
        (pin,) = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), f"{requirement} against {pin}"


def test_torchvision_works_next_to_torch() -> None:
    # nms is compiled against torch: it is missing when the two are not a matching pair.
    assert torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5).tolist() == [0]


def test_the_library_imports_without_the_notebook_stack() -> None:
    heavy = ("ipywidgets", "plotly", "papermill", "ray", "jupyterlab")
    assert run_python(f"import sys, dfkd_lab; print([m for m in {heavy} if m in sys.modules])").strip() == "[]"


def test_no_file_names_a_registry_or_this_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    # Files git does not know yet count too: they are what the next commit brings.
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    found = []
    for path in (ROOT / name for name in names if name):
        if not path.is_file() or b"\0" in (data := path.read_bytes()):
            continue
        found += [
            f"{path.name}: {hit}" for hit in re.findall(f"{REGISTRY}|{MACHINE_PATH}", data.decode("utf-8", "replace"))
        ]
    assert not found


def test_a_torchvision_that_does_not_match_torch_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(EnvironmentProblem, match=r"no matching pair .*nms.* pip install -c constraints"):
        environment.check()


def test_a_missing_notebook_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "installed", lambda name: "missing" if name == "papermill" else "1.0")
    with pytest.raises(EnvironmentProblem, match=r"^missing: papermill; run: pip install"):
        environment.check()
