"""Nothing that a file or a person says acts on a terminal or in a spreadsheet."""

import csv
import io

import pytest

from dfkd_lab.cli.tables import plain_table
from dfkd_lab.system.text import csv_table, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ResNet-18, μ = 0.5, 日本", "ResNet-18, μ = 0.5, 日本"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b31m", "\\x9b31m"),
        ("left\u202eright\u2028", "left\\u202eright\\u2028"),
        ("name\udcff", "name\\udcff"),
    ],
)
def test_a_terminal_is_told_nothing_but_text(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert plain_table([{text: text}]) == f"{shown}\n{shown}"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1+1", "-"])
def test_a_spreadsheet_computes_no_text(text: str) -> None:
    (header, row) = csv.reader(io.StringIO(csv_table([{text: text}], [text]), newline=""))
    assert header == row == [f"'{text}"]


def test_numbers_and_harmless_text_stay_as_they_are() -> None:
    row = {"a": -0.5, "b": 1e-9, "c": None, "d": "-0.5", "e": "-inf", "f": "a=b, 'c'", "g": 3}
    (_, read) = csv.reader(io.StringIO(csv_table([row], list(row)), newline=""))
    assert read == ["-0.5", "1e-09", "", "-0.5", "-inf", "a=b, 'c'", "3"]
