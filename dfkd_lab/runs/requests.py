"""What the process of a run is asked to do: pause, go on, stop after its round, or end soon."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from dfkd_lab.runs.folder import RunFolder

LOOK_S = 0.05
GRACE_S = 20.0
"""For a round to end after SIGTERM. Slurm and Kubernetes kill 30 s after it."""


class Terminated(Exception):
    """A round was given up, because it would not have ended before the process is killed."""


class Requests:
    """What is requested of a run: by the readers of its folder, by its caller, and by the system.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.newest = "run"
        """Or "pause" or "stop"."""
        self._looked, self._ends = 0.0, math.inf

    def terminate(self) -> None:
        """Stop after the round, or without its end where that is more than :data:`GRACE_S` away."""
        self.newest, self._ends = "stop", time.monotonic() + GRACE_S

    def at_step(self, beat: Callable[[], object], say: Callable[[str], object]) -> float:
        """A safe point, before every step: read what is requested, and wait while that is a pause.

        Args:
            beat: Called from time to time, so that others see that the run is at work.
            say: Told "paused" and "running".

        Returns:
            The seconds of the pause.

        Raises:
            Terminated: if the process has to end now.
        """
        now = time.monotonic()
        if now > self._ends:
            raise Terminated("terminated within a round")
        if now - self._looked > LOOK_S:
            self._looked = now
            self._read()
            beat()
        if self.newest == "pause":
            say("paused")
            while self.newest == "pause":
                time.sleep(LOOK_S)
                self._read()
                beat()
            say("running")
            return time.monotonic() - now
        return 0.0

    def _read(self) -> None:
        request = self.folder.take_request()
        if request == "terminate":
            self.terminate()
        elif request:
            self.newest = request
