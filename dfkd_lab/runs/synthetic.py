"""The synthetic images of a run: what its memory kept, or new ones of its last generator. Never a real one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfkd_lab import data, methods
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.primitives.batch import Batch, to_float, to_uint8
from dfkd_lab.runs import networks, own_code
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.planning import resolve
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.rng import preserved

DRAWN = 1000
"""Images of a run whose memory keeps none."""
PASS = 64
"""Images that go through a network at a time."""


@dataclass(frozen=True)
class Synthetic:
    """Synthetic images, where they are from, in words, and what is known of each, [N]; None where nothing is."""

    images: Tensor
    """[N, C, H, W], uint8."""
    origin: str
    targets: Tensor | None = None
    """The target class; -1 where no class was the target."""
    ages: Tensor | None = None
    """Rounds since the image was made."""
    losses: Tensor | None = None
    """The student's last loss on it; of an image that no step has read yet, the largest there was when it came."""
    history: Tensor | None = None
    """[N, R], the same after each of ``history_rounds``; not a number before the image was made."""
    history_rounds: Tensor | None = None
    """[R]."""

    def spread(self, n: int) -> Synthetic:
        """``n`` of the images, evenly spread over them; all if there are fewer."""
        places = torch.linspace(0, len(self.images) - 1, min(n, len(self.images))).round().long()
        known = (self.targets, self.ages, self.losses, self.history)
        targets, ages, losses, history = (None if each is None else each[places] for each in known)
        return Synthetic(self.images[places], self.origin, targets, ages, losses, history, self.history_rounds)


@dataclass(frozen=True)
class Labelled:
    """What the teacher says of images: its class and the probability of it, [N], or [N, H, W] of every pixel."""

    classes: Tensor
    confidence: Tensor


def of_run(spec: RunSpec, state: dict[str, Any] | None, trust_code: str = "", command: str = "export") -> Synthetic:
    """The images that the run's memory holds, or as many as ``DRAWN`` new ones.

    Args:
        spec: The run.
        state: As the run saved it.
        trust_code: As in :func:`dfkd_lab.runs.own_code.admitted`.
        command: What a person calls to allow it.

    Raises:
        RunError: if there are none to be had, saying why.
    """
    if remark := methods.remark(methods.METHODS.get(spec.method)):
        raise RunError(f"'{spec.method}' {remark}")
    if state is None:
        raise RunError("its checkpoint.pt was removed")
    kept = _kept(state["modules"]["memory"])
    if kept is not None and len(kept.images):
        return kept
    try:
        drawn = _drawn(spec, state["modules"]["synthesizer"], trust_code, command)
    except (SpecError, RunError) as error:
        raise RunError(f"it kept none, and none can be drawn: {error}") from None
    return drawn


@torch.no_grad()
def label(folder: RunFolder, spec: RunSpec, images: Tensor, trust_code: str = "") -> Labelled:
    """What the run's teacher says of ``images`` [N, C, H, W], which are bytes.

    Raises:
        SpecError: if the teacher is not to be had.
        RunError: if it is another one by now.
    """
    own_code.admitted(dataclasses.replace(spec, student=""), trust_code, "export")
    teacher = networks.teacher_of(folder, spec)
    probabilities = (teacher.model(to_float(part)).softmax(1).max(1) for part in images.split(PASS))
    confidence, classes = zip(*probabilities, strict=True)
    return Labelled(torch.cat(classes), torch.cat(confidence))


def _kept(memory: dict[str, Any]) -> Synthetic | None:
    """What is in the state of a memory that a student learns from; None of one that draws new images for it."""
    ring = "ring." if "views" in memory else ""  # of kept views, the buffer that they are of
    if (images := memory.get(f"{ring}images")) is None:
        return None
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(f"images of {images.dtype} with {images.ndim} axes")
    n = min(len(images), int(memory[f"{ring}written"]))
    known = {name: memory.get(f"{ring}{name}") for name in ("labels", "born", "priorities")}
    if odd := [name for name, value in known.items() if value is not None and value.shape != (len(images),)]:
        raise ValueError(f"{odd[0]} that are not one an image")
    targets, born, losses = (None if value is None else value[:n] for value in known.values())
    ages = None if born is None else int(memory[f"{ring}rounds"]) - born
    return Synthetic(images[:n], f"the {n:,} images that the run's memory kept", targets, ages, losses)


def _drawn(spec: RunSpec, state: dict[str, Any], trust_code: str, command: str) -> Synthetic:
    """``DRAWN`` images of the synthesizer in this state, the same each time."""
    own_code.admitted(spec, trust_code, command)
    here: dict[str, Any] = {"device": "cpu", "precision": "fp32", "compile": "no"}
    if data.find(spec.data) is None:  # a folder decides nothing of the synthesizer, and may have been moved
        here["data"] = "none"
    composed = resolve(dataclasses.replace(spec, **here), trust_code).take()
    synthesizer: Any = composed.recipe.synthesizer
    synthesizer.load_state_dict(state)
    images: list[Tensor] = []
    targets: list[Tensor | None] = []
    with preserved(), torch.no_grad():
        torch.manual_seed(spec.seed)
        while sum(map(len, images)) < DRAWN:
            # one that holds its noise samples what it has rendered
            batch: Batch = synthesizer.render() if getattr(synthesizer, "hold", False) else synthesizer.sample(PASS)
            images.append(to_uint8(batch.images))
            targets.append(batch.labels)
    known = [each for each in targets if each is not None]
    drawn = torch.cat(images)[:DRAWN]
    return Synthetic(
        drawn,
        f"{len(drawn):,} images drawn with the run's last generator",
        torch.cat(known)[:DRAWN] if len(known) == len(images) else None,
    )
