"""The typed record of a round: what a run says, what ``events.jsonl`` holds, and what every view reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dfkd_lab.primitives.batch import Batch


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

    @property
    def seconds(self) -> float:
        """Synthesis, distillation, evaluation and writing."""
        return self.synthesis_s + self.distillation_s + self.evaluation_s + self.writing_s


UNLOGGED = {"samples", "seen"}
DENSE: dict[str, Any] = {"metric": "accuracy", "details": {}, "shares": {}}
"""What only a segmentation has, and what is not written as it says nothing."""


@dataclass
class Report:
    """One round. Fractions in [0, 1], losses unweighted; the fields are the keys of a line in ``events.jsonl``."""

    round: int
    rounds: int
    terms: dict[str, float]
    """The synthesizer's losses, means over the round."""
    student: dict[str, float]
    """The student's losses."""
    health: dict[str, float]
    """See :func:`dfkd_lab.engine.metrics.health`."""
    alarms: list[str]
    accuracy: float | None
    """What the evaluation's ``metric`` gives, in [0, 1]; None in a round that was not evaluated."""
    s_lr: float = 0.0
    """The student's learning rate in its last step."""
    cost: Cost = field(default_factory=Cost)
    memory: dict[str, Any] | None = None
    """What is remembered, as the memory says it; None in runs older than that."""
    samples: Batch | None = None
    """Images of the round; they are not in the event."""
    seen: Any = None
    """What the networks see on them, a :class:`~dfkd_lab.engine.metrics.Seen`; not in the event either."""
    metric: str = "accuracy"
    """Or "mIoU", of a segmentation."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the evaluation measured besides: of a segmentation the IoU of each class, and the accuracy of its pixels."""
    shares: dict[str, list[float]] = field(default_factory=dict)
    """Of a segmentation the share of synthetic pixels in each class, as "teacher" and "student" predict them."""

    def event(self) -> dict[str, Any]:
        """The report as plain values, without the images."""
        values = {each.name: getattr(self, each.name) for each in fields(Report) if each.name not in UNLOGGED}
        values = {name: value for name, value in values.items() if name not in DENSE or value != DENSE[name]}
        return {**values, "cost": asdict(self.cost)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Report:
        """The report that gave ``event``, without its images; what older runs did not say is as by default.

        Raises:
            KeyError, TypeError: if it is no event.
        """
        known = {each.name for each in fields(cls)} - UNLOGGED
        costs = {each.name for each in fields(Cost)}
        values = {name: value for name, value in event.items() if name in known}
        values["cost"] = Cost(**{name: value for name, value in event["cost"].items() if name in costs})
        return cls(**values)
