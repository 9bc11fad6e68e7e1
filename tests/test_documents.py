"""The commands of README.md, docs/batch.md and docs/export.md and the code of the README work as they stand."""

import base64
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import papermill
import pytest
import torch
import yaml

from dfkd_lab import METHODS, from_namespace
from dfkd_lab.__main__ import COMMANDS
from dfkd_lab.cli.flags import parse
from dfkd_lab.spec import record
from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TEXTS = {name: (ROOT / name).read_text() for name in ("README.md", "docs/batch.md", "docs/export.md")}
LINES = [line.strip().removeprefix("- run: ") for text in TEXTS.values() for line in text.splitlines()]
PAPERMILL = [line.partition("   #")[0] for line in LINES if re.match(r"(\S*/)?papermill ", line)]
OURS = [line.partition("   #")[0] for line in LINES if line.startswith("python -m dfkd_lab ")]


def parameters(words: list[str]) -> dict[str, Any]:
    """What papermill makes of its flags."""
    given: dict[str, Any] = {}
    for at, word in enumerate(words):
        if word == "-p":
            given[words[at + 1]] = yaml.safe_load(words[at + 2])
        elif word == "-y":
            given |= yaml.safe_load(words[at + 1])
        elif word == "-b":
            given |= yaml.safe_load(base64.b64decode(words[at + 1]))
    return given


@pytest.mark.parametrize("line", PAPERMILL)
def test_every_papermill_command_is_a_run_or_a_comparison(line: str) -> None:
    _, notebook, output, *rest = shlex.split(line.replace("$seed", "1"))
    assert output.startswith("runs/")
    given = parameters(rest)
    if notebook.endswith("10_run.ipynb"):
        spec = record(from_namespace(given).spec)
        nested = given.pop("settings", {})
        asked = {name: value for name, value in {**given, **nested}.items() if name != "minutes"}
        assert (
            asked.items() <= {**spec["settings"], **{name: spec[name] for name in spec if name != "settings"}}.items()
        )
    assert set(given) <= set(papermill.inspect_notebook(str(ROOT / notebook))) | set(
        METHODS[given.get("method", "ssd_kd")].__dataclass_fields__
    )


@pytest.mark.parametrize("line", OURS)
def test_every_command_of_ours_is_known_with_its_flags(line: str) -> None:
    _, _, _, command, *rest = shlex.split(line)
    assert command in COMMANDS
    if command == "run":
        absent = ("resnet20.pth", "torchvision:resnet18@weights.pth", "my.py:MyNet")
        rest = [word for word, after in pairwise([*rest, ""]) if not {word, after} & set(absent)]
        assert parse(rest[0], rest[1:]).keys() == {word[2:].replace("-", "_") for word in rest if word.startswith("--")}


def test_the_code_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", TEXTS["README.md"], re.S)
    short = block.replace("rounds=20", "rounds=6, s_steps=4, batch=16, width=8")
    assert short != block
    names: dict[str, Any] = {"images": torch.rand(3, 1, 16, 16)}
    exec(short, names)
    assert isinstance(names["student"], torch.nn.Module)
    assert names["student"](names["images"]).shape == (3, 10)


def test_the_example_of_continuous_integration_is_a_workflow() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXTS["docs/batch.md"], re.S)
    steps = yaml.safe_load(block)["jobs"]["distil"]["steps"]
    (kept,) = [step["with"]["path"].split() for step in steps if "upload" in step.get("uses", "")]
    (command,) = [shlex.split(step["run"]) for step in steps if "papermill" in step.get("run", "")]
    given = parameters(command)
    assert (given["minutes"], kept) == (0.5, [command[2], f"runs/{given['out']}/report.html"])
