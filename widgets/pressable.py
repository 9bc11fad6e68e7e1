"""Elements of a page as plain values, some of which can be pressed; in a live page, or as HTML in a still one.

A node is a text, or ``[tag, attributes, *children]``. What has the attribute ``data-press`` answers to a click and to
Enter; ``data-key`` names a key that presses it too, and ``data-focus`` says where the keyboard goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

Node = str | list[Any]
VOID = ("img",)
"""Tags that have no end."""


class Pressable(anywidget.AnyWidget):
    """Shows nodes; ``on_press`` hears the ``data-press`` of what was pressed."""

    _esm = Path(__file__).with_name("pressable.js")
    content: Any = traitlets.List().tag(sync=True)

    def __init__(self, on_press: Callable[[str], None] = lambda name: None):
        super().__init__()
        self.on_press = on_press
        self.on_msg(self._answer)

    def show(self, *nodes: Node) -> None:
        """Show these instead; nothing is sent if they are there."""
        if self.content != [*nodes]:
            self.content = [*nodes]

    def _answer(self, widget: Pressable, message: Any, buffers: Any) -> None:
        if isinstance(message, dict) and isinstance(name := message.get("press"), str):
            self.on_press(name)


def markup(*nodes: Node) -> str:
    """The nodes as HTML; every text and every attribute is escaped."""
    return "".join(map(_markup, nodes))


def _markup(node: Node) -> str:
    if isinstance(node, str):
        return escape(node, quote=False)
    tag, attributes, *children = node
    written = "".join(f" {name}='{escape(str(value))}'" for name, value in attributes.items())
    if tag in VOID:
        return f"<{tag}{written}>"
    inside = "".join(children) if tag == "style" else markup(*children)  # a style is no markup, and is not escaped
    return f"<{tag}{written}>{inside}</{tag}>"
