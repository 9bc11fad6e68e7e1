"""The synthetic images of a run: what its memory kept, or new ones of its last generator. Never a real one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfkd_lab import methods, teachers
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.primitives.batch import Batch, to_float, to_uint8
from dfkd_lab.runs import RunFolder, own_code, resolve
from dfkd_lab.runs.records import refuse_other_teacher
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.rng import preserved

DRAWN = 1000
"""Images of a run whose memory keeps none."""
PASS = 64
"""Images that go through a network at a time."""


@dataclass(frozen=True)
class Synthetic:
    """Synthetic images [N, C, H, W] as bytes, and where they are from, in words."""

    images: Tensor
    origin: str


@dataclass(frozen=True)
class Labelled:
    """What the teacher says of images: its class and the probability of it, [N], or [N, H, W] of every pixel."""

    classes: Tensor
    confidence: Tensor


def of_run(spec: RunSpec, state: dict[str, Any] | None, trust_code: str = "") -> Synthetic:
    """The images that the run's memory holds, or as many as ``DRAWN`` new ones.

    Args:
        spec: The run.
        state: As the run saved it.
        trust_code: As in :func:`dfkd_lab.export.student.of_run`.

    Raises:
        RunError: if there are none to be had, saying why.
    """
    if remark := methods.remark(methods.METHODS.get(spec.method)):
        raise RunError(f"'{spec.method}' {remark}")
    if state is None:
        raise RunError("its checkpoint.pt was removed")
    kept = _kept(state["modules"]["memory"])
    if kept is not None and len(kept):
        return Synthetic(kept, f"the {len(kept):,} images that the run's memory kept")
    try:
        drawn = _drawn(spec, state["modules"]["synthesizer"], trust_code)
    except (SpecError, RunError) as error:
        raise RunError(f"it kept none, and none can be drawn: {error}") from None
    return Synthetic(drawn, f"{len(drawn):,} images drawn with the run's last generator")


def spread(images: Tensor, n: int) -> Tensor:
    """``n`` of the images, evenly spread over them; all if there are fewer."""
    return images[torch.linspace(0, len(images) - 1, min(n, len(images))).round().long()]


@torch.no_grad()
def label(folder: RunFolder, spec: RunSpec, images: Tensor, trust_code: str = "") -> Labelled:
    """What the run's teacher says of ``images`` [N, C, H, W], which are bytes.

    Raises:
        SpecError: if the teacher is not to be had.
        RunError: if it is another one by now.
    """
    own_code.admitted(dataclasses.replace(spec, student=""), trust_code, "export")
    teacher = teachers.trained(teachers.find(spec.teacher, spec.normalization, spec.data))
    refuse_other_teacher(folder, teacher)
    probabilities = (teacher.model(to_float(part)).softmax(1).max(1) for part in images.split(PASS))
    confidence, classes = zip(*probabilities, strict=True)
    return Labelled(torch.cat(classes), torch.cat(confidence))


def _kept(memory: dict[str, Any]) -> Tensor | None:
    """The images in the state of a memory that a student learns from; None of one that draws new ones for it."""
    ring = "ring." if "views" in memory else ""  # of kept views, the buffer that they are of
    if (images := memory.get(f"{ring}images")) is None:
        return None
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(f"images of {images.dtype} with {images.ndim} axes")
    kept: Tensor = images[: int(memory[f"{ring}written"])]
    return kept


def _drawn(spec: RunSpec, state: dict[str, Any], trust_code: str) -> Tensor:
    """``DRAWN`` images [N, C, H, W] as bytes of the synthesizer in this state, the same each time."""
    own_code.admitted(spec, trust_code, "export")
    composed = resolve(dataclasses.replace(spec, device="cpu", precision="fp32", compile="no"), trust_code).take()
    synthesizer: Any = composed.recipe.synthesizer
    synthesizer.load_state_dict(state)
    images: list[Tensor] = []
    with preserved(), torch.no_grad():
        torch.manual_seed(spec.seed)
        while sum(map(len, images)) < DRAWN:
            # one that holds its noise samples what it has rendered
            batch: Batch = synthesizer.render() if getattr(synthesizer, "hold", False) else synthesizer.sample(PASS)
            images.append(to_uint8(batch.images))
    return torch.cat(images)[:DRAWN]
