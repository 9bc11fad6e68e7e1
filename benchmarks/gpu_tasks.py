"""What gpu.py does, a part at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.support import tiny


@dataclass(frozen=True)
class Request:
    """What the command line says."""

    out: Path
    runs: Path
    device: torch.device
    tiny: bool
    end: float

    @property
    def left(self) -> float:
        """Seconds until the call has to end."""
        return self.end - time.monotonic()

    def settings(self, method: str) -> dict[str, Any]:
        """The paper's for a GPU; for a rehearsal those that ``method`` has of the small ones."""
        return tiny(method) if self.tiny else {}


@dataclass(frozen=True)
class Task:
    """One row: ``run`` gives its figures, and ``stopped`` among them if it goes on another time."""

    stage: str
    name: str
    run: Callable[[Request], dict[str, Any]]
    seconds: float = 10.0
    """It is not begun with less time left; a run is stopped after the round in which the time is over."""
    is_recorded: bool = False
    """By its benchmark, on whatever device."""

    @property
    def key(self) -> str:
        """In the results."""
        return f"{self.stage}/{self.name}"
