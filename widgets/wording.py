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
from widgets import status


def offered(name: str) -> str:
    """A method in the list: what its paper calls it, who wrote it and when, and how certain this version is.

    What is no method of a paper is called a control or a reference.
    """
    method = methods.find(name)
    of_paper = re.match(r"(?:(\w+) et al\.|[A-Z][\w ]+), .*?\b((?:19|20)\d\d)\b", method.citation)
    written = " ".join(filter(None, of_paper.groups())) if of_paper else ""
    control = "control" if "a control" in method.certainty else ""
    kind = "reference" if methods.remark(method) else control or method.certainty.split(" ")[0]
    return f"{proper_name(name)} ({', '.join(filter(None, (written, kind)))})"


def proper_name(name: str) -> str:
    """As the method's file begins; a method that was registered has no file of its own."""
    begun, colon, _ = _first_line(sys.modules[methods.find(name).__module__]).partition(":")
    if not colon or name not in methods.CLASSES:
        return name
    noun = re.sub(r"^(The|An?) ", "", begun)
    return noun[0].upper() + noun[1:]


def described(name: str) -> str:
    """What a method is, who wrote it, how certain this version is, and what commands call it."""
    method = methods.find(name)
    paper, first = _first_line(sys.modules[method.__module__]), _first_line(method)
    facts = "; ".join(filter(None, (method.certainty, methods.remark(method))))
    return paragraph(f"{paper} {first} Here: {facts}. In commands: {name}.")


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").split("\n")[0]


def paragraph(text: str, warning: str = "") -> str:
    """Text as HTML with lines close enough together; a ``warning`` stands out behind it."""
    warned = f" <span style='color: {status.WARNING}'>{escape(warning)}</span>" if warning else ""
    return f"<div style='line-height: 1.35'>{escape(text)}{warned}</div>" if text or warning else ""


SETTING = re.compile(r"\w+ = ")
"""How a note on a setting begins, whose name stays as it is."""


def sentences(notes: Iterable[str]) -> str:
    """Notes of a plan as sentences."""
    return " ".join(f"{each if SETTING.match(each) else each[0].upper() + each[1:]}." for each in notes)


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
