"""What a round adds up while it runs: losses and seconds, without waiting for the device."""

from __future__ import annotations

import time

import torch
from torch import Tensor


class Meter:
    """Sums of losses, kept on the device until the round ends, and the seconds of a phase."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.phases: list[tuple[Timestamp, Timestamp]] = []
        self.paused = 0.0
        """Seconds within the phases in which nothing was computed, because somebody asked for it."""

    def add(self, losses: dict[str, Tensor]) -> None:
        """Count one value of each of these losses, scalars."""
        for name, loss in losses.items():
            self.sums[name] = self.sums[name].add_(loss) if name in self.sums else loss
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The mean of each loss; this is where the host waits for the device, once a round."""
        return {name: float(value) / self.counts[name] for name, value in self.sums.items()}

    def start(self, device: torch.device) -> None:
        """A phase begins."""
        self._start = Timestamp(device)

    def stop(self, device: torch.device) -> None:
        """It ends."""
        self.phases.append((self._start, Timestamp(device)))

    @property
    def seconds(self) -> float:
        """What the phases took, without pauses; this waits for the last one."""
        return max(0.0, sum(end.since(start) for start, end in self.phases) - self.paused)


class Timestamp:
    """Now: by the clock, or on a GPU in the order of its work, so that reading the time waits for nothing."""

    def __init__(self, device: torch.device):
        self.time = time.perf_counter()
        self.event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        if self.event is not None:
            self.event.record(torch.cuda.current_stream(device))

    def since(self, earlier: Timestamp) -> float:
        """Seconds from ``earlier`` until now."""
        if self.event is None or earlier.event is None:
            return self.time - earlier.time
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1000
