"""What went wrong in somebody else's code, in words for one sentence."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

THEIRS = (Exception, SystemExit)
"""What a fault of somebody else's code is; whoever ends the process there means no process of ours."""
LONGEST = 160
"""Characters of what an error says."""


def reason(error: BaseException, file: Path | None = None) -> str:
    """An error as one line, and where in ``file`` it was, if it was there."""
    said = " ".join((str(error).strip() or "no message").split("\n")[0].split())[:LONGEST]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if isinstance(error, SyntaxError):
        said, lines = error.msg, [error.lineno]
    where = f", line {lines[-1]} of {file.name}" if file and lines and lines[-1] else ""
    return f"{type(error).__name__}: {said}{where}"


def article(value: Any) -> str:
    """The type of ``value`` with its article: "a tuple"; "nothing" for None."""
    kind = type(value).__name__
    return "nothing" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
