"""What memory a run will take at its peak, known before its first step, and whether it is there.

An estimate: what a rehearsal with 2 images and one with 4 hold after each operator is drawn out in a straight line to
the real batches. What an operator needs inside itself, what the allocator holds back, what a CUDA graph keeps, and the
copy of the state that a checkpoint is written from are not in it. Measured on a CPU (ResNet-20 to ResNet-8, batch 128;
digits): the process expected 0.75 to 0.85 of the peak it came to. Of what the run itself took the estimate was 0.6 to
0.8, and 0.9 to 1.1 where glibc gave freed memory back at once (MALLOC_MMAP_THRESHOLD_=262144). Not measured on a GPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from dfkd_lab import measure
from dfkd_lab.loop import Run
from dfkd_lab.rehearsal import rehearse
from dfkd_lab.spec import SpecError

FEW, MORE = 2, 4
"""Images of the two rehearsals."""
LOWER = {"memory": "capacity", "activations": "batch", "networks": "width"}
"""The setting that makes a part smaller."""


@dataclass(frozen=True)
class Footprint:
    """Bytes a run takes at its peak, by part, beside what its process ``used`` before; ``free`` is None if unknown.

    networks: teacher, student, synthesizer and terms, with gradients and optimizer states. memory: the slot.
    evaluation: its images. activations: of the most expensive step.
    """

    parts: dict[str, int]
    used: int
    free: int | None

    @property
    def needed(self) -> int:
        """All parts together."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        return f"needs about {amount(self.needed)}" + ("" if self.free is None else f", {amount(self.free)} free")

    def record(self) -> dict[str, Any]:
        """Plain values; ``expected_bytes`` is what :func:`~dfkd_lab.machine.peak_memory` should say at the end."""
        return {"expected_bytes": self.used + self.needed, "free_bytes": self.free, "parts": self.parts}

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse a run that does not fit.

        Raises:
            SpecError: naming the largest part, or the setting to lower, and what is free.
        """
        if self.free is None or self.needed <= self.free:
            return
        largest = max(self.parts, key=lambda part: self.parts[part])
        setting = LOWER.get(largest, "")
        what = f"{setting} = {settings[setting]}" if setting in settings else f"its {largest}"
        raise SpecError(
            f"this run needs about {amount(self.needed)} and {amount(self.free)} are free; "
            f"{what} alone takes {amount(self.parts[largest])}"
        )


def footprint_of(run: Run, used: int, free: int | None) -> Footprint:
    """What ``run`` will take at its peak; asked before its first step, and before it moves to its device.

    ``used`` and ``free`` are what its process had on that device before anything of the run was there.
    """
    memory = run.recipe.memory
    others = [module for name, module in run.recipe.modules().items() if name != "memory"]
    constant, growing = _peak(run)
    evaluate = run.evaluate
    parts = {
        "networks": _bytes([run.teacher, run.observer.oracle, run.student, *others]) + constant,
        "memory": _bytes([memory]),
        "evaluation": evaluate.images.nbytes if isinstance(evaluate, measure.Accuracy) else 0,
        "activations": growing,
    }
    return Footprint(parts, used, free)


def refusal(error: RuntimeError, settings: Mapping[str, Any]) -> Exception:
    """What to raise for ``error``: a SpecError if a run was too large to be composed at all, else ``error``."""
    found = re.search(r"DefaultCPUAllocator.*tried to allocate (\d+) bytes", str(error))
    if found is None:
        return error
    cure = f"; lower capacity = {settings['capacity']}" if "capacity" in settings else ""
    return SpecError(f"this run needs {amount(int(found[1]))} in one piece, which are not there{cure}")


def amount(size: int) -> str:
    """Bytes in words: "1.2 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _peak(run: Run) -> tuple[int, int]:
    """The largest number of bytes after any operator at the real sizes: what is constant, what grows with a batch."""
    schedule, recipe = run.recipe.schedule, run.recipe
    evaluate = run.evaluate
    sizes = (
        getattr(recipe.synthesizer, "n", schedule.batch),
        schedule.batch + getattr(recipe.memory, "replayed", 0),
        min(evaluate.batch, len(evaluate.labels)) if isinstance(evaluate, measure.Accuracy) else 0,
    )
    found = [(0, 0)]
    try:
        rehearsals = rehearse(run, FEW), rehearse(run, MORE)
    except Exception:  # what is wrong will be wrong in the first step too, which can say so; an estimate ends no run
        return found[0]
    for size, (few, less), (many, more) in zip(sizes, *rehearsals, strict=True):
        if len(less) != len(more):  # chance decided otherwise: no operator of one is the same of the other
            less, more = [max(less)], [max(more)]
        for low, high in zip(less, more, strict=True):
            slope = max(0.0, (high - low) / (many - few))
            constant = max(0.0, low - slope * few)
            found.append((round(constant), round(slope * size)))
    return max(found, key=sum)


def _bytes(modules: Iterable[Any]) -> int:
    """What parameters and buffers take, each counted once."""
    kept = {id(each): each for module in modules if isinstance(module, nn.Module)
            for each in (*module.parameters(), *module.buffers())}  # fmt: skip
    return sum(each.nbytes for each in kept.values())
