"""Curves of many rows in one picture."""

import re
from pathlib import Path
from typing import Any

import curves


def test_no_two_of_two_dozen_rows_look_alike(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {f"row {number}": [{"curve": [[1, 0.1], [4, 0.5]]}] for number in range(24)}
    picture = tmp_path / "curves.svg"
    assert "curves.svg" in curves.draw(rows, picture)
    drawn = re.findall(
        r'<path d="M [^"]*"[^>]*?style="(fill: none; [^"]*stroke-width: 1\.5[^"]*)"', picture.read_text()
    )
    assert len(set(drawn)) == 24


def test_a_row_without_two_points_has_no_line(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {"one": [{"curve": [[1, 0.1]]}], "none": [{}], "nothing": []}
    assert curves.draw(rows, tmp_path / "curves.svg") == "No curve has been measured yet."
    assert not (tmp_path / "curves.svg").exists()
