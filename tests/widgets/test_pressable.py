"""Nodes are sent as plain values and escaped in HTML, and what is pressed is heard."""

import re
from pathlib import Path
from typing import Any

import pytest

from widgets import pressable
from widgets.pressable import Pressable, markup


def test_no_name_is_markup() -> None:
    node = ["b", {"title": "<i>'\"&"}, "<script>&", ["img", {"alt": "x"}], ["style", {}, "a > b { }"]]
    html = "<b title='&lt;i&gt;&#x27;&quot;&amp;'>&lt;script&gt;&amp;<img alt='x'><style>a > b { }</style></b>"
    assert markup(node) == html
    script = (Path(pressable.__file__).with_name("pressable.js")).read_text()
    assert not re.search("innerHTML|outerHTML|insertAdjacent|document.write", script)


def test_what_is_pressed_is_heard_and_nothing_else() -> None:
    heard: list[str] = []
    shown = Pressable(heard.append)
    for message in ({"press": "back"}, {"press": 3}, "back", None, {"other": "back"}):
        shown._handle_custom_msg(message, [])
    assert heard == ["back"]


def test_what_is_there_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, sent = Pressable(), list[Any]()
    monkeypatch.setattr(Pressable, "send_state", lambda self, key=None: sent.append(key))
    shown.show(["b", {}, "one"])
    shown.show(["b", {}, "one"])
    assert len(sent) == 1
