"""The command that says which class is taken for which: examine."""

from __future__ import annotations

from typing import Any

from dfkd_lab.cli.runs import folder_named, trusted_text
from dfkd_lab.cli.tables import plain_table
from dfkd_lab.errors import SpecError
from dfkd_lab.runs import Examination, examination, examining
from dfkd_lab.runs.examination import Confusion
from dfkd_lab.system.text import printable

MOST_ROWS = 20
"""Classes, and confusions, that have a line."""


def show(arguments: list[str]) -> None:
    """``examine RUN`` prints tables and writes its file; ``--trust-code`` is that of ``resume``."""
    words, trust_code = trusted_text(arguments)
    if len(words) != 1 or words[0].startswith("-"):
        raise SpecError("examine takes one run folder, as in: examine runs/demo-seed0")
    folder = folder_named(words[0])
    found = examining.examine(folder, trust_code, say=_say)
    _say(f"round {found.round} of {found.rounds}, student sha256 {found.student_sha256[:16]}")
    share, label = ("pixels", "pixel") if found.task == "segmentation" else ("images", "image")
    if found.evaluation is not None:
        _print(found, found.evaluation, "accuracy", f"right in {found.evaluation.share:.3f} of {share}", label)
    if found.synthetic is not None:
        same = f"teacher and student agree in {found.synthetic.share:.3f} of {share}"
        _print(found, found.synthetic, "agreement", same, label)
    print()
    for remark in found.remarks:
        _say(remark)
    _say(f"examination {folder.path / examination.FILE}")


def _print(found: Examination, confusion: Confusion, right: str, headline: str, counted: str) -> None:
    """Both tables of one confusion matrix."""
    print()
    _say(f"{confusion.of}: {headline}")
    row = "label" if right == "accuracy" else "teacher"
    rows = _by_class(found, confusion, row, right, f"{counted}s")
    print(plain_table(rows[:MOST_ROWS]))
    if len(rows) > MOST_ROWS:
        print(f"and {len(rows) - MOST_ROWS} more classes, which are better")
    if pairs := confusion.largest(MOST_ROWS):
        print()
        names = found.class_names
        print(plain_table([{row: names[a], "student": names[b], f"{counted}s": count} for a, b, count in pairs]))


def _by_class(found: Examination, confusion: Confusion, row: str, right: str, counted: str) -> list[dict[str, Any]]:
    """A line a class: all of them in their order, or if they are many the worst first."""
    sums = confusion.counts.sum(1).tolist()
    rows = [
        {row: name, counted: of, right: None if share is None else f"{share:.3f}"}
        for name, of, share in zip(found.class_names, sums, confusion.by_class, strict=True)
    ]
    return rows if len(rows) <= MOST_ROWS else sorted(rows, key=lambda each: each[right] or "9")


def _say(sentence: str) -> None:
    print(printable(sentence), flush=True)
