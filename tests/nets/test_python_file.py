"""Networks of a user's own Python file: what is taken, what is refused, and what an import leaves behind."""

import copy
import pickle
import sys
from pathlib import Path, PureWindowsPath

import pytest
import torch

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file, trial
from tests.support import own_file

ONE, HEAD = "my.py:Net", "import torch\nfrom torch import nn\n"
NET = (
    "class Net(nn.Module):\n    def __init__(self, channels, classes):\n        super().__init__()\n"
    "        self.head = nn.Linear(256 * channels, classes)\n"
    "    def forward(self, images):\n        return self.head(images.flatten(1))\n"
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_file())
    return tmp_path / "my.py"


def test_a_class_or_a_function_makes_the_network(file: Path) -> None:
    nets.trust("my.py:Mine")
    assert nets.classifier("my.py:Mine", 3, 7)(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
    assert nets.classifier(f"{file}:Mine", 1, 5).head.out_features == 5, "by any path"
    assert nets.classifier("my.py:fixed", 3, 7).head.out_features == 10, "a function without parameters is as it is"
    net = nets.classifier("my.py:Mine", 1, 10)
    assert pickle.loads(pickle.dumps(copy.deepcopy(net))).head.weight.equal(net.head.weight)


@pytest.mark.parametrize(
    "name", ["my.py:Mine", "./my.py:Mine", "~/my.py:Mine", "C:\\nets\\my.py:Mine", "a@b/my.py:Mine"]
)
def test_a_name_is_split_at_its_last_colon(name: str) -> None:
    assert python_file.names_file(name)
    path, attribute = python_file.parse(name)
    assert (PureWindowsPath(path).name, attribute) == ("my.py", "Mine")
    assert path.is_absolute()


@pytest.mark.parametrize("name", ["resnet20", "torchvision:resnet18", "timm:pyramid", "", "runs/my.py:Net/student.pth"])
def test_other_names_are_no_file(name: str) -> None:
    assert not python_file.names_file(name)


def test_nothing_is_executed_that_was_not_trusted(file: Path, tmp_path: Path) -> None:
    file.write_text(own_file(marker=tmp_path / "marker"))
    for action in (lambda: nets.check("my.py:Mine"), lambda: nets.classifier("my.py:Mine", 1, 10)):
        with pytest.raises(SpecError, match="nobody asked to execute in this process"):
            action()
    assert not (tmp_path / "marker").exists()
    for _ in range(2):
        nets.trust("my.py:Mine")
    assert (tmp_path / "marker").read_text() == "executed ", "the same text once"


def test_importing_leaves_paths_and_random_numbers_as_they_were(file: Path) -> None:
    file.write_text(f"import sys, torch\nsys.path.insert(0, '/')\ntorch.manual_seed(5)\ntorch.rand(3)\n{own_file()}")
    paths, state = list(sys.path), torch.get_rng_state()
    nets.trust("my.py:Mine")
    assert sys.path == paths
    assert torch.get_rng_state().equal(state)
    assert not list(file.parent.rglob("*.pyc"))


def test_two_files_of_one_name_are_two_modules(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my.py").write_text(own_file(width=6))
    for name in ("my.py:Mine", "other/my.py:Mine"):
        nets.trust(name)
    widths = [nets.classifier(name, 1, 10).head.in_features for name in ("my.py:Mine", "other/my.py:Mine")]
    assert widths == [4, 6]
    assert "my" not in sys.modules


def test_an_edited_file_is_read_again_and_a_broken_one_forgotten(file: Path) -> None:
    before = nets.trust("my.py:Mine")
    file.write_text(own_file(width=5))
    assert nets.trust("my.py:Mine").sha256 != before.sha256
    assert nets.classifier("my.py:Mine", 1, 10).head.in_features == 5
    modules = set(sys.modules)
    file.write_text("1 / 0")
    with pytest.raises(
        SpecError, match=r"my.py cannot be imported \(ZeroDivisionError: division by zero, line 1 of my.py"
    ):
        nets.trust("my.py:Mine")
    assert set(sys.modules) == modules


@pytest.mark.parametrize("text", ["from __future__ import annotations\n" + HEAD + "from dataclasses import dataclass\n"
                                  "@dataclass\nclass Sizes:\n    width: int = 3\n" + NET])  # fmt: skip
def test_dataclasses_and_future_annotations_work(file: Path, text: str) -> None:
    file.write_text(text)
    nets.trust("my.py:Net")
    trial.examine_student(ONE, nets.maker(ONE), (1, 16, 16), 10)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("absent.py:Net", "", "'absent.py:Net': there is no file /.*absent.py"),
        ("my.py:Mien", own_file(), "'Mien' is not a class or function in my.py; did you mean 'Mine'?"),
        ("my.py:Other", own_file(), "known: Mine, fixed"),
        ("my.py", own_file(), "'my.py' names nothing in a file; write FILE.py:NAME"),
        ("my.py:a.b", own_file(), "'my.py:a.b' names nothing in a file"),
        (ONE, "import nothing_there", "ModuleNotFoundError: No module named 'nothing_there', line 1 of my.py"),
        (ONE, "def Net(:", "SyntaxError: invalid syntax, line 1 of my.py"),
        (ONE, "\nimport sys\nsys.exit(3)", "SystemExit: 3, line 3 of my.py"),
        (ONE, "Net = 3", "is an int; allowed: a class or function that makes a network"),
        (ONE, HEAD + "Net = nn.Linear(3, 4)", "is a Linear; allowed: a class or function that makes a network"),
        (ONE, HEAD + "def Net(depth, classes): pass", r"needs depth; it is called as NAME\(channels=..., classes="),
        (ONE, HEAD + "def Net(*sizes, **more): return None", "gives nothing; allowed: an nn.Module"),
        (ONE, HEAD + "def Net(): raise ValueError('no\\nway')", r"cannot be made \(ValueError: no, line 3 of my.py"),
        (ONE, HEAD + "def Net(): raise SystemExit(3)", r"cannot be made \(SystemExit: 3, line 3 of my.py"),
        (ONE, HEAD + NET.replace("self.head(images.flatten(1))", "exit(4)"), r"cannot take images .* \(SystemExit: 4"),
        (ONE, HEAD + NET.replace("self.head(images.flatten(1))", "images, images"), "gives a tuple for images"),
        (ONE, HEAD + NET.replace("images.flatten(1))", "images.flatten(1)).softmax(1)"), "leave out the softmax"),
        (ONE, HEAD + NET.replace("classes)\n  ", "7)\n  "), r"gives \[2, 7\] for 2 images; .* logits \[2, 10\]"),
        (ONE, HEAD + NET.replace("256", "128"), r"cannot take images \[2, 1, 16, 16\] \(RuntimeError: mat1"),
        (ONE, HEAD + NET.replace("(1))", "(1)) / 0"), "gives no finite numbers"),
        (ONE, HEAD + "def Net(): return nn.Flatten()", "has no parameters to train"),
        (ONE, HEAD + "import random\n" + NET.replace("(1))", "(1)) * random.random()"), "is not the same twice"),
        (ONE, HEAD + "import _thread\n" + NET.replace("self.head =", "self.lock = _thread.allocate_lock()\n"
         "        self.head ="), "cannot be copied"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_network_is_refused_in_one_sentence(file: Path, name: str, text: str, sentence: str) -> None:
    file.write_text(text)

    def take() -> None:
        nets.trust(name)
        trial.examine_student(name, nets.maker(name), (1, 16, 16), 10)

    with pytest.raises(SpecError, match=sentence) as error:
        take()
    assert "\n" not in str(error.value)
