"""What a view remembers of a run: few enough events to draw, however many rounds there are, and its alarms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dfkd_lab.runs import RunFolder

MOST_EVENTS = 1000
"""An even number, so that the newest survives when every other one is dropped."""


class Spread:
    """Of all events that are added at most ``MOST_EVENTS``, evenly spread, and the newest."""

    def __init__(self) -> None:
        self._even: list[dict[str, Any]] = []
        self._rest: list[dict[str, Any]] = []
        self._stride, self.count = 1, 0

    def add(self, event: dict[str, Any]) -> None:
        """Keep this event for now."""
        kept = self.count % self._stride == 0
        self._even += [event] if kept else []
        self._rest = [] if kept else [event]
        if len(self._even) > MOST_EVENTS:
            self._even, self._stride = self._even[::2], 2 * self._stride
        self.count += 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter([*self._even, *self._rest])


@dataclass
class Alarm:
    """An alarm without its numbers, and the first and the last round that had it."""

    text: str
    first: int
    last: int


class History:
    """The events of a run folder, read as they are written.

    At most ``MOST_EVENTS`` and the last one are kept, evenly spread over the run, and as many of those that were
    evaluated. Each has, as "expected", the mean accuracy of all rounds up to it, also of those that are not kept.
    """

    events: list[dict[str, Any]]
    alarms: dict[str, Alarm]
    _all: Spread
    _evaluated: Spread
    _offset: int

    def __init__(self, folder: RunFolder | None = None):
        self._path = folder.path / "events.jsonl" if folder else None
        self._file = 0
        self._forget()

    def read(self) -> bool:
        """Read what is new, and all of it again when the file was replaced, as a resumed run does; whether any is."""
        if self._path is None or not self._path.exists():
            return False
        with self._path.open("rb") as file:
            number = os.fstat(file.fileno()).st_ino
            replaced = number != self._file
            if replaced:
                self._forget()
                self._file = number
            before = self._all.count
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._add(json.loads(line))
                self._offset += len(line)
        by_round = {event["round"]: event for event in (*self._all, *self._evaluated)}
        self.events = [by_round[number] for number in sorted(by_round)]
        return replaced or self._all.count > before

    def _forget(self) -> None:
        self.events, self.alarms, self._all, self._evaluated = [], {}, Spread(), Spread()
        self._offset, self._sum = 0, 0.0

    def _add(self, event: dict[str, Any]) -> None:
        if event["accuracy"] is not None:
            self._sum += event["accuracy"]
            self._evaluated.add(event)
        event["expected"] = self._sum / self._evaluated.count if self._evaluated.count else None
        for alarm in event["alarms"]:
            text = alarm.split(" (")[0]
            self.alarms.setdefault(text, Alarm(text, event["round"], event["round"])).last = event["round"]
        self._all.add(event)
