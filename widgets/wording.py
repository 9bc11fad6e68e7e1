"""What is chosen, in words for people: a method in a list and in a sentence, a run in a line."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from dfkd_lab import methods
from dfkd_lab.nets import python_file


def offered(name: str) -> str:
    """A method in the list: its name, who wrote it and when, and whether this version is certain."""
    method = methods.find(name)
    year = re.search(r"(.*?),? .*?\b((?:19|20)\d\d)\b", method.citation)
    who = f"{year[1].split(' ')[0]} {year[2]}, " if year and " et al." in method.citation else ""
    return f"{name} ({who}{method.certainty.split(' ')[0]})"


def described(method: type[Any]) -> str:
    """What a method is, who wrote it, and how certain this version is."""
    paper, first = ((inspect.getdoc(each) or "").split("\n")[0] for each in (sys.modules[method.__module__], method))
    facts = "; ".join(filter(None, (method.certainty, methods.remark(method))))
    return paragraph(f"{paper} {first} Here: {facts}.")


def paragraph(text: str) -> str:
    """Text as HTML with lines close enough together."""
    return f"<div style='line-height: 1.35'>{escape(text)}</div>" if text else ""


def in_short(values: Mapping[str, Any], named: Iterable[str] = ()) -> str:
    """A run in a line, from the values of its spec; of the method's settings the buffer's size, and those ``named``."""
    settings = values["settings"]
    words = [
        str(values["method"]),
        f"{Path(str(values['teacher'])).name} → {python_file.short(str(values['student']))}",
        *([f"on {values['data']}"] if values["data"] != values["teacher"] else []),
        *([f"buffer {settings['capacity']:,} images"] if isinstance(settings.get("capacity"), int) else []),
        f"{values['rounds']} rounds",
        f"seed {values['seed']}",
        *(f"{name} = {settings[name]}" for name in named if name != "capacity"),
    ]
    return " · ".join(words)
