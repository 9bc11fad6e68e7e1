"""Whether an exported file gives what the student gives, on inputs that are no real image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs.synthetic import Synthetic

INPUTS = 256
BATCHES = (1, 2, 7, 64)
MOST_PASSES = 8
"""Of a batch size; 64 passes all inputs by four."""
TOLERANCE = 1e-4
"""Of float logits: the largest difference, over the largest logit."""
LEAST_SAME = 0.99
"""Of an int8 file: the share of images, or pixels, with the same class."""

Runs = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] in [0, 1] -> logits."""


@dataclass(frozen=True)
class Row:
    """A batch size: what was compared, and what came of it."""

    batch: int
    images: int
    size: str
    """Height x width, in pixels."""
    max_abs_difference: float
    largest_logit: float
    same_class: float
    """A share of images, or of pixels."""

    @property
    def relative(self) -> float:
        """The largest difference over the largest logit; networks that were not trained may have none above 1e-9."""
        return self.max_abs_difference / (self.largest_logit or 1.0)


@dataclass(frozen=True)
class Parity:
    """A file beside the student, batch size by batch size."""

    rows: list[Row]
    is_int8: bool

    @property
    def same_class(self) -> float:
        """The share of images, or pixels, that get the same class, over all batch sizes."""
        return sum(row.same_class * row.images for row in self.rows) / sum(row.images for row in self.rows)

    @property
    def difference(self) -> float:
        """The largest relative difference of a logit."""
        return max(row.relative for row in self.rows)

    def problem(self) -> str:
        """Why the file does not pass; empty if it does."""
        if self.is_int8:
            least = f"at least {LEAST_SAME:.0%} was wanted"
            return "" if self.same_class >= LEAST_SAME else f"gives the same class in {self.same_class:.1%}, {least}"
        if self.difference <= TOLERANCE:  # which is false for what is not a number
            return ""
        return f"gives logits that differ by {self.difference:.2g}, and at most {TOLERANCE:g} was wanted"

    def record(self) -> dict[str, Any]:
        """For parity.json."""
        wanted: dict[str, Any] = {"same_class": LEAST_SAME} if self.is_int8 else {"relative_difference": TOLERANCE}
        found = {"same_class": self.same_class, "relative_difference": self.difference}
        return {"passed": not self.problem(), "wanted": wanted, **found, "batches": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class Inputs:
    """Images [N, C, H, W] in [0, 1], and what they are, in words."""

    images: Tensor
    origin: str


def inputs(synthetic: Synthetic, shape: tuple[int, int, int], seed: int) -> Inputs:
    """``INPUTS`` images: synthetic ones, spread over those there are, and noise for what lacks.

    Args:
        synthetic: Any number of images, none too.
        shape: [C, H, W].
        seed: Of the noise.
    """
    chosen = synthetic.spread(INPUTS).images
    words = [f"{len(chosen)} of {synthetic.origin}" if len(chosen) else synthetic.origin]
    if lacking := INPUTS - len(chosen):
        words.append(f"{lacking} images of uniform noise")
    noise = torch.rand(lacking, *shape, generator=torch.Generator().manual_seed(seed))
    return Inputs(torch.cat([to_float(chosen), noise]), "; ".join(words))


@torch.no_grad()
def compare(
    student: Frozen, exported: Runs, images: Tensor, *, is_int8: bool = False, other: Tensor | None = None
) -> Parity:
    """Hold what an exported file gives against the student, at every batch size of ``BATCHES``.

    Args:
        student: On the CPU.
        exported: The file, loaded.
        images: [N, C, H, W] in [0, 1].
        is_int8: Whether classes are compared, not logits.
        other: Images of another height and width, if the file takes them; compared in one batch.
    """
    sizes = [(batch, images[: batch * MOST_PASSES]) for batch in BATCHES]
    sizes += [] if other is None else [(len(other), other)]
    return Parity([_row(student, exported, batch, part) for batch, part in sizes], is_int8)


def _row(student: Frozen, exported: Runs, batch: int, images: Tensor) -> Row:
    difference = largest = 0.0
    same = labels = 0
    for part in images.split(batch):  # one after the other: maps of logits of all inputs may be gigabytes
        wanted, found = student(part), exported(part)
        largest = max(largest, float(wanted.abs().max()))
        if wanted.shape != found.shape:
            return Row(batch, len(images), _size(images), float("inf"), largest, 0.0)
        difference = max(difference, float((wanted - found).abs().nan_to_num(float("inf")).max()))
        same += int((wanted.argmax(1) == found.argmax(1)).sum())
        labels += wanted.argmax(1).numel()
    return Row(batch, len(images), _size(images), difference, largest, same / labels)


def _size(images: Tensor) -> str:
    return "x".join(map(str, images.shape[2:]))
