"""Golden numbers: the losses of every step are those of the paper's algorithm, and those that were stored."""

import ast

import pytest

from tests.reference import algorithms, golden
from tests.support import ROOT

TOLERANCE = 1e-9


@pytest.mark.parametrize("name", golden.CASES)
def test_losses_are_those_of_the_algorithm_and_of_the_file(name: str) -> None:
    ours, theirs = golden.losses_of(golden.CASES[name])
    assert golden.largest_difference(ours, theirs) < TOLERANCE
    assert golden.largest_difference(ours, golden.stored()[name]) < TOLERANCE


def test_a_loss_that_is_left_out_or_drifts_is_seen() -> None:
    told = {"kd": [1.0, 2.0]}
    assert golden.largest_difference(told, {"kd": [1.0, 2.0 * (1 + 2e-9)]}) > TOLERANCE
    assert golden.largest_difference(told, {"kd": [1.0]}) == float("inf")
    assert golden.largest_difference(told, {}) == float("inf")


def test_the_algorithms_know_nothing_of_ours() -> None:
    for file in (ROOT / "tests/reference/algorithms").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert all(name.split(".")[0] in ("torch", "math", "collections", "typing", "copy") or
                       name.startswith(algorithms.__name__) for name in names), file.name  # fmt: skip
