"""What a run says of each round, and what it has used so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from dfkd_lab.primitives.memory import Batch


@dataclass
class Cost:
    """What a run has used so far."""

    images: int = 0
    """Images that came out of the synthesizer for the memory or the student."""
    teacher_queries: int = 0
    """Images passed through the teacher."""
    g_steps: int = 0
    s_steps: int = 0
    synthesis_s: float = 0.0
    distillation_s: float = 0.0
    evaluation_s: float = 0.0
    writing_s: float = 0.0
    """That a session held the loop up to log and to hand over samples and checkpoints; a round's count in the next."""
    peak_memory_bytes: int = 0


@dataclass
class Report:
    """One round: what the log keeps and every view shows. Fractions in [0, 1], losses unweighted."""

    round: int
    rounds: int
    terms: dict[str, float]
    student: dict[str, float]
    health: dict[str, float]
    alarms: list[str]
    accuracy: float | None
    """None in a round that was not evaluated."""
    s_lr: float
    cost: Cost = field(default_factory=Cost)
    memory: dict[str, Any] = field(default_factory=dict)
    """What is remembered, as the memory says it."""
    samples: Batch | None = None

    def event(self) -> dict[str, Any]:
        """The report as plain values, without the images."""
        rows = {name: value for name, value in vars(self).items() if name not in ("cost", "samples")}
        return {**rows, "cost": asdict(self.cost)}
