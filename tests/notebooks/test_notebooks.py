"""Every notebook is thin, stored clean, and runs headless from top to bottom."""

import ast
import base64
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
import papermill
import pytest
from papermill.translators import translate_parameters
from PIL import Image

from dfkd_lab import RunFolder, RunSpec, Session, SpecError, plan, sweeps
from dfkd_lab.__main__ import main
from dfkd_lab.spec import parameters_cell, setting_type, settings_of

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
TINY = {"cycles": 2, "batch": 16, "width": 8, "z_dim": 8}
SMALL = {"method": "dafl", "rounds": 2, "settings": TINY, "device": "cpu"}
LESSONS = {
    "20_what_a_teacher_remembers": {"steps": 1, "batch": 10},
    "21_the_adversarial_game": {"rounds": 1, "batch": 8},
    "22_forgetting_and_replay": {"rounds": 1, "batch": 8, "seeds": 1},
    "23_small_and_well_chosen": {"rounds": 3, "batch": 8, "warm_up": 1, "seeds": 1},
    "24_asking_for_a_class": {"rounds": 1, "batch": 8},
    "25_every_pixel_a_class": {"rounds": 1, "batch": 8},
}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")]


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def tagged(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if "parameters" in cell.metadata.get("tags", [])]


def execute(name: str, tmp_path: Path, parameters: dict[str, Any]) -> Path:
    """Run a notebook where only the installed packages can be found."""
    (path,) = (each for each in NOTEBOOKS if each.stem == name)
    output = tmp_path / path.name
    papermill.execute_notebook(
        str(path), str(output), parameters, kernel_name="python3", cwd=str(tmp_path), progress_bar=False
    )
    return output


def pictures(executed: Path) -> int:
    """How many figures a notebook has; each is drawn by plotly, a picture on a page without it, and said in words."""
    found = [
        output["data"]
        for cell in nbformat.read(executed, 4).cells
        for output in cell.get("outputs", [])
        if "application/vnd.plotly.v1+json" in output.get("data", {})
    ]
    page, _ = nbconvert.HTMLExporter().from_filename(str(executed))
    assert page.count('src="data:image/png;base64,') == len(found)
    for each in found:
        image = Image.open(io.BytesIO(base64.b64decode(each["image/png"]))).convert("RGBA")
        assert image.width >= 900
        assert image.height >= each["application/vnd.plotly.v1+json"]["layout"]["height"]
        assert len(image.getcolors(image.width * image.height)) > 20
        assert re.search(r": -?[\d.]+ at ", each["text/plain"])
    return len(found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_clean(path: Path) -> None:
    book = json.loads(path.read_text())
    assert set(book["metadata"]) == {"kernelspec"}
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    for cell in book["cells"]:
        assert cell["id"]
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        # the workbench's code is folded, so that the result is in the first view
        assert cell["metadata"].keys() <= {"tags"} or cell["metadata"] == {"jupyter": {"source_hidden": True}}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_thin(path: Path) -> None:
    """A notebook imports, chooses and shows; its one loop is the one over the run."""
    cells = code(path)
    assert not [cell for cell in cells if cell.lstrip().startswith(("%", "!"))]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell))]
    assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)]
    loops = [ast.unparse(node) for node in nodes if isinstance(node, ast.For | ast.While)]
    assert all(loop == "for report in session:\n    progress.show(report)" for loop in loops)
    assert sum(len(cell.splitlines()) for cell in cells) <= 60
    assert nbformat.read(path, 4).cells[0].cell_type == "markdown"


def test_the_parameters_are_the_run_spec() -> None:
    (path,) = (each for each in NOTEBOOKS if each.stem == "10_run")
    assert tagged(path) == [parameters_cell(RunSpec)]


def test_papermill_can_read_every_parameter() -> None:
    (path,) = (each for each in NOTEBOOKS if each.stem == "10_run")
    found = papermill.inspect_notebook(str(path))
    assert set(found) == set(settings_of(RunSpec))
    for name, facts in found.items():
        assert facts["inferred_type_name"] == setting_type(RunSpec, name).__name__
        assert facts["help"]


def test_a_run(tmp_path: Path, digits_cache: Path) -> None:
    # some of it as text, as the command line passes it; for each notebook that is executed starts a kernel
    settings = json.dumps(SMALL["settings"])
    typed = {"rounds": "2", "seed": "3", "settings": settings, "balance": 3, "out": "runs/mine"}
    output = execute("10_run", tmp_path, {**SMALL, **typed})
    folder = RunFolder(tmp_path / "runs" / "mine")
    spec = folder.spec()
    assert (spec.rounds, spec.seed, spec.settings["cycles"], spec.settings["balance"]) == (2, 3, 2, 3.0)
    assert folder.status()["state"] == "finished"
    assert (folder.path / "report.html").is_file()
    assert output.stat().st_size < 1_000_000
    text = output.read_text()
    assert pictures(output) == 4
    assert "application/vnd.jupyter.widget-view+json" not in text
    assert "showSendToCloud" in text
    assert "student 0." in text


def test_a_sweep_is_run_and_goes_on(tmp_path: Path, digits_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {
        "name": "two",
        "grid": "{method: [dafl, dfad]}",
        "settings": json.dumps({**TINY, "rounds": 2, "device": "cpu"}),
    }
    monkeypatch.chdir(tmp_path)
    sweep = sweeps.from_text(given["name"], given["grid"], given["settings"])
    folders = [RunFolder(tmp_path / each.path) for each in sweep.prepare()]
    list(Session(folders[0].spec()))  # so that one run starts a process, and the other is not begun anew
    students = {each.stat().st_mtime_ns for each in (tmp_path / "runs").rglob("student.safetensors")}
    output = execute("12_sweep", tmp_path, given)
    assert students < {each.stat().st_mtime_ns for each in (tmp_path / "runs").rglob("student.safetensors")}
    assert [each.status()["state"] for each in folders] == ["finished"] * 2
    assert "2 of 2 runs are finished" in output.read_text()
    assert pictures(output) >= 2
    assert (tmp_path / "runs" / "two" / "sweep.html").stat().st_size < 5e6


UNKNOWN = [
    ("10_run", {"method": "dafi"}, "did you mean 'dafl'"),
    ("11_compare", {"name": "a"}, "did you mean 'names'"),
    ("10_run", {"method": "dafl", "balnce": 3}, "did you mean 'balance'"),
    ("22_forgetting_and_replay", {"rouns": 3}, "did you mean 'rounds'"),
    ("00_workbench", {"method": "dafl"}, "takes no parameters, not method = 'dafl'"),
]
"""A notebook, what it is given, and how it refuses that."""


@pytest.mark.parametrize(("name", "given", "sentence"), UNKNOWN)
def test_what_a_notebook_does_not_know_is_refused_by_its_first_cell(
    name: str, given: dict[str, Any], sentence: str
) -> None:
    (path,) = (each for each in NOTEBOOKS if each.stem == name)
    first = next(cell for cell in code(path) if cell not in tagged(path))
    namespace: dict[str, Any] = {"In": []}
    for cell in (*tagged(path), translate_parameters("python3", "python", given, "Parameters"), first):
        namespace["In"].append(cell)
        if cell is first:
            with pytest.raises(SpecError, match=sentence):
                exec(cell, namespace)
        else:
            exec(cell, namespace)


# each starts a kernel, and what its first cell says is looked at above
@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [pytest.param(*row, marks=[] if row is UNKNOWN[2] else [pytest.mark.long]) for row in UNKNOWN],
)
def test_what_a_notebook_does_not_know_ends_with_a_sentence(
    name: str, given: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(papermill.PapermillExecutionError, match=sentence):
        execute(name, tmp_path, given)
    assert [each.name for each in tmp_path.iterdir()] == [f"{name}.ipynb"]


def test_the_notebook_command_starts_its_own_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "another one's", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.chdir(tmp_path)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import sys; print(sys.executable)")])
    nbformat.write(book, tmp_path / "where.ipynb")
    assert main(["notebook", "where.ipynb"]) == 0
    output = Path(capsys.readouterr().out.strip())
    assert sys.executable in output.read_text()
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "jupyter")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_looks_at_what_it_was_given(path: Path) -> None:
    first = next(cell for cell in code(path) if cell not in tagged(path))
    assert "from_namespace(globals())" in first or "check_parameters(globals())" in first


def test_the_workbench_opens_as_a_page_of_its_own_and_says_how_to_begin() -> None:
    (path,) = re.findall(r"default_url=/doc/tree/(\S+)$", (NOTEBOOKS[0].parents[1] / "Makefile").read_text(), re.M)
    assert path == "notebooks/00_workbench.ipynb"
    (first, *_) = nbformat.read(NOTEBOOKS[0], 4).cells
    assert "run all cells first (menu Run)" in first.source


def test_the_workbench_says_that_it_needs_somebody(tmp_path: Path) -> None:
    output = execute("00_workbench", tmp_path, {})
    assert output.stat().st_size < 20_000
    assert "The workbench has buttons" in output.read_text()


def test_runs_are_compared(tmp_path: Path, digits_cache: Path) -> None:
    for seed in (0, 1):
        list(Session(plan({**SMALL, "seed": seed, "out": str(tmp_path / "runs" / f"seed{seed}")})))
    output = execute("11_compare", tmp_path, {})
    text = output.read_text()
    assert output.stat().st_size < 200_000
    assert pictures(output) == 2
    assert "n = 2" in text
    assert "± " in text
    assert "application/vnd.jupyter.widget-view+json" not in text


def test_a_network_and_images_of_ones_own(tmp_path: Path, digits_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"method": "dafl", "rounds": 1}
    (path,) = (each for each in NOTEBOOKS if each.stem == "30_bring_your_own")
    parameters, *rest = code(path)
    with monkeypatch.context() as patch:  # the first time here, for a kernel takes seconds to start
        patch.chdir(tmp_path)
        namespace: dict[str, Any] = {"In": []}
        for cell in (parameters, translate_parameters("python3", "python", given, "Parameters"), *rest):
            namespace["In"].append(cell)
            exec(cell, namespace)
    output = execute("30_bring_your_own", tmp_path, given)  # the second time the run is read
    folder = RunFolder(tmp_path / "runs" / "own")
    assert folder.status()["state"] == "finished"
    manifest = folder.manifest()
    assert [each["from_round"] for each in manifest["sessions"]] == [0, 1]
    assert manifest["evaluation"]["n"] == 450
    assert manifest["teacher"]["net"] == "mine"
    assert manifest["teacher"]["accuracy"] > 0.97
    kept = folder.path / "export"
    assert {"model.onnx", "model.safetensors", "README.md"} <= {each.name for each in kept.iterdir()}
    assert re.search(r"runs/own-images/test/0/\d+\.png: class \d", output.read_text())
    assert output.stat().st_size < 300_000
    assert pictures(output) == 1


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each.startswith("20") else pytest.mark.long) for each in LESSONS]
)
def test_a_lesson(name: str, tmp_path: Path, digits_cache: Path) -> None:
    output = execute(name, tmp_path, LESSONS[name])
    text = output.read_text()
    assert output.stat().st_size < 300_000
    assert pictures(output) == 1
    assert "application/vnd.jupyter.widget-view+json" not in text
    runs = [RunFolder(path) for path in (tmp_path / "runs" / "lessons").iterdir()]
    assert sum(int(number) for number in re.findall(r"(\d+) runs? finished", text)) == len(runs)
    assert {run.status()["state"] for run in runs} == {"finished"}


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_a_parameter_for_all_that_is_changed_and_ends_with_two_questions(name: str) -> None:
    (path,) = (each for each in NOTEBOOKS if each.stem == name)
    found = papermill.inspect_notebook(str(path))
    assert set(LESSONS[name]) <= set(found)
    assert all(facts["inferred_type_name"] == "int" and facts["help"] for facts in found.values())
    head, *questions = re.split(r"^\d\. ", nbformat.read(path, 4).cells[-1].source, flags=re.M)
    assert head == "## Two questions\n\n"
    for number, text in enumerate(questions, 1):  # indented, so that it is a part of its question's place in the list
        fold = rf"   <details>\n   <summary>Answer to question {number}</summary>\n(\n   [^\n]+\n)+\n   </details>\s*"
        assert re.fullmatch(rf"[^\n]+\?\n\n{fold}", text), text
    assert len(questions) == 2
