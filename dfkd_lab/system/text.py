"""Text on its way out: what a terminal or a spreadsheet would act on becomes something to read.

HTML has ``html.escape`` and YAML ``yaml.safe_dump``; nothing else is needed there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import bidirectional, category

FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - the wide ones begin a formula too
"""How a cell begins that a spreadsheet computes."""

STEERING = ("Cc", "Cs", "Zl", "Zp")
OVERRIDING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Of Unicode's classes of direction, those of characters that turn what comes after them."""


def printable(value: object) -> str:
    r"""``value`` as one line that moves no cursor and colors nothing: ``\x1b``, ``\n`` and the like are spelled out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(value))


def steering(text: str) -> str:
    """The first character of ``text`` that no name may have, spelled out; "" if there is none.

    Control characters, line ends, halves of letters, and what overrides the direction of the text around it are not for
    names. Spaces of any width, joiners and marks are: scripts need them, though ``str.isprintable`` knows none of them.
    """
    is_odd = lambda each: category(each) in STEERING or bidirectional(each) in OVERRIDING  # noqa: E731
    return next((printable(each) for each in text if is_odd(each)), "")


def csv_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The rows as CSV below ``columns``. Numbers stay so; text that a spreadsheet would compute gets a ' before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
