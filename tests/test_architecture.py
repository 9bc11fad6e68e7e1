"""The house: which room may enter which, no way round in a circle, and rooms of a size that one can look over."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("dfkd_lab", "widgets")
    for file in sorted((ROOT / package).rglob("*.py"))
}
FLOORS = (
    {"errors", "spec", "system", "data"},
    {"nets"},
    {"primitives"},
    {"engine"},
    {"methods"},
    {"teachers", "runs"},
    {"bench", "export", "sweeps"},
    {"cli"},
)
"""From the ground up; a room enters lower ones, and its own floor."""
MAY_ENTER_DATA = {"data", "teachers", "runs"}
UNIX_ONLY = {"fcntl", "resource", "_posixsubprocess", "pwd", "termios"}
NOTEBOOK_STACK = {
    "ipywidgets",
    "plotly",
    "papermill",
    "ray",
    "jupyterlab",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "widgets",
}


def room_of(module: str) -> str:
    """The package below dfkd_lab that a module is in; "widgets" for the widgets, "" for the front door."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "dfkd_lab" else package


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that code imports, at its top or inside; a submodule where a package gives it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in names)


def at_import_time(tree: ast.Module) -> ast.Module:
    """The code without what runs only when a function is called."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [ast.Pass()]
    return tree


def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


ARROWS = {name: {each for each in imported(tree_of(name)) if each in FILES} - {name} for name in FILES}


def test_arrows_run_one_way() -> None:
    wrong = []
    for name, targets in ARROWS.items():
        if name in ("dfkd_lab", "dfkd_lab.__main__") or room_of(name) == "widgets":
            continue
        mine = floor_of(room_of(name))
        wrong += [f"{name} -> {to}" for to in targets if room_of(to) and floor_of(room_of(to)) > mine]
        wrong += [f"{name} -> {to}" for to in targets if room_of(to) == "widgets" or to.startswith("dfkd_lab.__")]
        if room_of(name) not in MAY_ENTER_DATA:
            wrong += [f"{name} -> {to}" for to in targets if room_of(to) == "data"]
    teachers = [name for name in FILES if room_of(name) == "teachers"]
    wrong += [f"{name} -> {to}" for name in teachers for to in ARROWS[name] if room_of(to) == "runs"]
    assert not wrong


def test_nobody_goes_in_a_circle() -> None:
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for to in ARROWS[name]:
                # a package's front door imports its rooms, and they may name each other through the package
                if not name.startswith(f"{to}."):
                    walk(to, (*way, name))
            done.add(name)

    for name in FILES:
        walk(name, ())


def test_the_picture_shows_the_arrows_there_are() -> None:
    ground = {"errors", "spec", "system", "", "__main__"}
    real = {(room_of(name), room_of(to)) for name, targets in ARROWS.items() for to in targets}
    real = {(a, b) for a, b in real if a != b and not {a, b} & ground}
    drawn = re.findall(r"^    (\w+) --> (\w+)$", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    assert sorted(drawn) == sorted(real)


def test_distillation_cannot_reach_data_by_another_library() -> None:
    readers = {"sklearn", "PIL", "torchvision.datasets"}
    for name in FILES:
        if room_of(name) in ("nets", "primitives", "engine", "methods"):
            assert not [each for each in imported(tree_of(name)) if each.startswith(tuple(readers))], name
        if room_of(name) in ("primitives", "engine", "methods"):
            assert "torchvision" not in {each.partition(".")[0] for each in imported(tree_of(name))}, name


def test_the_library_never_imports_the_notebook_stack_when_it_is_imported() -> None:
    for name in FILES:
        if room_of(name) != "widgets":
            roots = {each.partition(".")[0] for each in imported(at_import_time(tree_of(name)))}
            assert not roots & NOTEBOOK_STACK, name


def test_no_module_needs_what_only_unix_has() -> None:
    for name in FILES:
        roots = {each.partition(".")[0] for each in imported(at_import_time(tree_of(name)))}
        assert not roots & UNIX_ONLY, name


def test_only_a_run_that_is_compiled_waits_for_the_compiler() -> None:
    for name in FILES:
        modules = imported(at_import_time(tree_of(name)))
        assert not [each for each in modules if each.startswith(("torch._inductor", "torch._dynamo"))], name


def test_rooms_can_be_looked_over() -> None:
    long = {name: lines for name, file in FILES.items() if (lines := file.read_text().count("\n")) > 300}
    assert not long
    long_functions = [
        f"{name}:{node.lineno} {node.name}"
        for name in FILES
        for node in ast.walk(tree_of(name))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno > 39
    ]
    assert not long_functions
    papers = [file for name, file in FILES.items() if file.parent.name == "methods"]
    shared = {"__init__", "catalogue", "composition", "diagram"}
    assert not [file for file in papers if file.stem not in shared and file.read_text().count("\n") > 120]
    front = [
        name
        for name in FILES
        if name.startswith("dfkd_lab") and name.count(".") <= 1 and FILES[name].parent.name == "dfkd_lab"
    ]
    assert len(front) <= 5


def test_no_module_is_called_like_a_function_in_it() -> None:
    same = [
        name
        for name in FILES
        for node in tree_of(name).body
        if isinstance(node, ast.FunctionDef) and node.name == name.rpartition(".")[2]
    ]
    assert not same


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_importing_changes_nothing_and_help_needs_no_torch() -> None:
    python("import os; before = dict(os.environ); import dfkd_lab; assert dict(os.environ) == before")
    python(
        "import os, torch, torch._dynamo, subprocess; before = dict(os.environ), torch.get_num_threads(), "
        "torch.get_rng_state(), torch._dynamo.config.recompile_limit, subprocess.Popen, torch.nn.Conv2d.forward\n"
        "import dfkd_lab; from dfkd_lab import *; from dfkd_lab import data, nets, teachers\n"
        "after = dict(os.environ), torch.get_num_threads(), torch.get_rng_state(), "
        "torch._dynamo.config.recompile_limit, subprocess.Popen, torch.nn.Conv2d.forward\n"
        "assert all(a is b or (a == b if not torch.is_tensor(a) else torch.equal(a, b)) for a, b in zip(before, after))"
    )
    code = "import sys; from dfkd_lab.__main__ import main; main(['--help']); print('torch' in sys.modules)"
    assert python(code).splitlines()[-1] == "False"


@pytest.mark.parametrize("name", ["Session", "plan", "summary", "compose", "RunFolder", "list_runs", "RunSpec",
                                  "teachers", "nets", "data", "export", "load_student", "SpecError",
                                  "RunError"])  # fmt: skip
def test_public_names_need_no_deeper_import(name: str) -> None:
    import dfkd_lab

    assert getattr(dfkd_lab, name) is not None
    assert name in dfkd_lab.__all__
    assert name in dir(dfkd_lab)


@pytest.mark.slow
def test_a_session_works_where_there_is_no_fcntl(tmp_path: Path) -> None:
    python(
        "import sys, warnings; warnings.simplefilter('ignore'); sys.modules['fcntl'] = sys.modules['resource'] = None\n"
        "from dfkd_lab import Session, plan\n"
        "sizes = dict(cycles=1, batch=8, width=4, z_dim=4, rounds=2, data='none')\n"
        f"assert len(list(Session(plan(method='dafl', out={str(tmp_path / 'run')!r}, **sizes)))) == 2"
    )


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: nothing to compare with")
def test_git_ignores_no_source() -> None:
    """A pattern of .gitignore that also matches a room would leave it out of every clone."""
    listed = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--", "*.py"]
    ignored = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rooms = ("dfkd_lab/", "widgets/", "tests/", "benchmarks/")
    assert not [file for file in ignored if file.startswith(rooms)]
