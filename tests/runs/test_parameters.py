"""What a notebook was given is taken whole, or refused by name."""

from typing import Any

import pytest

from dfkd_lab import SpecError, check_parameters, from_namespace
from dfkd_lab.runs.parameters import assigned
from dfkd_lab.spec import RunSpec, parameters_cell

CELL = parameters_cell(RunSpec)


def notebook(*cells: str, **more: Any) -> dict[str, Any]:
    """The namespace of a kernel that executed these cells."""
    namespace: dict[str, Any] = {"In": [""], "Out": {}, "_dh": ["here"], **more}
    for cell in cells:
        namespace["In"].append(cell)
        exec(cell, namespace)
    return namespace


def test_settings_of_the_method_may_be_injected_flat() -> None:
    resolved = from_namespace(notebook(CELL, "# Parameters\nmethod = 'dafl'\nbalance = 3\nrounds = 2\n", "x = 3"))
    assert (resolved.spec.method, resolved.balance, resolved.rounds) == ("dafl", 3.0, 2)


def test_they_may_be_in_the_parameters_cell_itself() -> None:
    assert from_namespace(notebook(CELL + "\ncapacity = 300")).capacity == 300


@pytest.mark.parametrize(
    ("injected", "sentence"),
    [
        ("rouns = 5", "'rouns' is not a setting of SSDKD; did you mean 'rounds'"),
        ("method = 'dafl'\nbalnce = 3", "'balnce' is not a setting of DAFL; did you mean 'balance'"),
        ("rouns = [1, 2]", "did you mean 'rounds'"),
        ("rounds = None", "rounds = None is not a whole number"),
        ("settings = {'batchs': 8}", "did you mean 'batch'"),
        ("settings = {'batch': 8}\nbatch = 9", "batch is given twice"),
        ("capacity = 0", "capacity = 0 is out of range"),
    ],
)
def test_what_is_no_setting_is_refused(injected: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        from_namespace(notebook(CELL, f"# Parameters\n{injected}\n"))


def test_the_latest_parameters_count_and_nothing_else_of_the_notebook() -> None:
    injected = "# Parameters\ncapacity = 300\n"
    mixed = "import os\nmethod = 'ssd_kd'\nrounds = 4\nname = os.path.join('a', 'b')"
    assert from_namespace(notebook("lr = 3", CELL, injected, "batch_size = 8", CELL)).capacity != 300
    with pytest.raises(SpecError, match="'name' is not a setting"):
        from_namespace(notebook(mixed))
    together = "method = 'fast'\nrounds = 3\nresolved = from_namespace(globals())"
    assert from_namespace(notebook(together, from_namespace=from_namespace)).rounds == 3


def test_a_cell_that_is_not_python_assigns_nothing() -> None:
    assert assigned("rounds = = 3") == {}
    assert assigned("rounds: int = 3\na, b = 1, 2\nc = d = 4") == {"rounds": "int", **dict.fromkeys("abcd", "")}


def test_every_way_to_assign_counts_and_numbers_of_numpy_do() -> None:
    numbers = "import numpy as np\nfrom pathlib import Path\nmethod = 'ssd_kd'\ncapacity = np.int64(500)\n"
    resolved = from_namespace(notebook(numbers + "out = Path('mine')\nif True:\n    seed = 7\nrounds, s_steps = 2, 3"))
    assert (resolved.capacity, resolved.seed, resolved.rounds, resolved.s_steps, resolved.out) == (500, 7, 2, 3, "mine")
    with pytest.raises(SpecError, match="did you mean 'capacity'"):
        from_namespace(notebook("method, rounds, capcity = 'ssd_kd', 2, 500"))
    with pytest.raises(SpecError, match=r"capacity = .* is not a whole number"):
        from_namespace(notebook("method = 'ssd_kd'\ncapacity = range(3)"))
    kept = from_namespace(notebook("rounds = 3\ncapacity = 60\nx = 5", "# Parameters\nseed = 4\n"))
    assert (kept.rounds, kept.capacity, kept.seed) == (3, 60, 4)


def test_a_notebook_without_a_parameters_cell_gives_what_is_a_setting() -> None:
    resolved = from_namespace(notebook("x = 3\nimport os", "balance = 4", method="dafl"))
    assert (resolved.spec.method, resolved.balance) == ("dafl", 4.0)


def test_outside_a_notebook_every_plain_value_is_meant() -> None:
    assert from_namespace({"method": "dafl", "balance": 3, "_private": 1, "function": print}).balance == 3.0
    with pytest.raises(SpecError, match="did you mean 'rounds'"):
        from_namespace({"method": "dafl", "rouns": 3})


def test_other_notebooks_refuse_what_their_parameters_cell_has_not() -> None:
    cell = "rounds: int = 12  # rounds of the game\nname: str = ''\nfree = 3"
    check_parameters(notebook(cell))
    namespace = notebook(cell, "# Parameters\nrounds = '3'\nfree = [4]\n")
    check_parameters(namespace)
    assert (namespace["rounds"], namespace["free"]) == (3, [4])
    for injected, sentence in {
        "rouns = 3": "'rouns' is not a parameter of this notebook; did you mean 'rounds'",
        "rounds = 'many'": "rounds = 'many' is not a whole number",
        "rounds = None": "rounds = None is not a whole number",
    }.items():
        with pytest.raises(SpecError, match=sentence):
            check_parameters(notebook(cell, f"# Parameters\n{injected}\n"))
    with pytest.raises(SpecError, match=r"takes no parameters, not method = 'dafl'; 10_run\.ipynb"):
        check_parameters(notebook("# Parameters\nmethod = 'dafl'\n"))
