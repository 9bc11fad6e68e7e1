"""How long the chosen run will take, timed away from the thread that hears clicks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from dfkd_lab.runs import ResolvedRun, timing

Say = Callable[[str], None]


class Forecast:
    """Times a step of each pair of networks once; what is chosen besides is arithmetic."""

    def __init__(self) -> None:
        self._speeds: dict[Any, timing.Speed] = {}
        self._wanted: tuple[Any, ResolvedRun, Say] | None = None
        self._at_work = threading.Lock()

    def show(self, resolved: ResolvedRun, say: Say) -> None:
        """Have ``say`` called with a sentence, at once or when a step was timed; with nothing for a run on a GPU.

        A GPU is left alone: to time a step there, the kernel that shows the page would hold memory of it for good.
        """
        spec, recipe = resolved.spec, resolved.composed.recipe
        code = [each.sha256 for each in resolved.code.values()]
        key = (spec.teacher, resolved.teacher.sha256, spec.student, recipe.schedule.batch, spec.precision, *code)
        self._wanted = (key, resolved, say) if resolved.device.type == "cpu" else None
        if key in self._speeds:
            self._say()
        elif self._wanted:
            threading.Thread(target=self._time, name="dfkd_lab forecast", daemon=True).start()

    def _time(self) -> None:
        """What was chosen while another step was timed is timed next, and what was left meanwhile never."""
        with self._at_work:
            if self._wanted and self._wanted[0] not in self._speeds:
                key, resolved, _ = self._wanted
                self._speeds[key] = timing.time_a_step(resolved.composed, resolved.teacher.card.shape)
        self._say()

    def _say(self) -> None:
        if self._wanted and (speed := self._speeds.get(self._wanted[0])):
            _, resolved, say = self._wanted
            seconds = speed.seconds(resolved.composed, resolved.teacher.card.shape)
            say(f"It takes {timing.sentence(seconds, resolved.device)}.")
