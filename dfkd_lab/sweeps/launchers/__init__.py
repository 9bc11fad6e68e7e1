"""Where the runs of a sweep are computed: what starts ``resume FOLDER``, knows when it has ended, and can end it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.sweeps.launchers.local import Local
from dfkd_lab.sweeps.launchers.ray_tasks import RayTasks

__all__ = ["LAUNCHERS", "Launcher", "Local", "RayTasks"]


class Launcher(Protocol):
    """Three verbs; a unit is whatever ``start`` gives."""

    jobs: int
    """How many units run at a time."""

    def start(self, folder: RunFolder, place: int) -> Any:
        """Begin or continue the run of a prepared folder, as one of several at a time: the one at ``place``, from 0."""

    def poll(self, unit: Any) -> int | None:
        """The exit status of its process, None while it runs; below 0 for a signal that ended it."""

    def stop(self, unit: Any) -> None:
        """Have it end after its round, saved; its exit status is then 75."""


LAUNCHERS: dict[str, Callable[[int], Launcher]] = {"local": Local, "ray": RayTasks}
"""Each is told how many runs at a time; 0 leaves that to it. Slurm has a queue of its own: see ``slurm``."""
