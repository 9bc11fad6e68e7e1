"""Tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from dfkd_lab.system.text import printable


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Aligned columns, a row each, named by the first row's keys; empty for no rows."""
    if not rows:
        return ""
    cells = [[printable(name) for name in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else printable(value)
