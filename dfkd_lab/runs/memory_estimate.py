"""What memory a run will take at its peak, by arithmetic, and whether it is there; what to say when it was not.

Parameters, gradients, optimizer states, buffers and evaluation images are counted; activations are those of one image,
measured at each layer's output, times the batch of the more expensive step. What an operator needs inside itself, what
an allocator holds back, and the copy of the state that a checkpoint is written from are not in it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.metrics import kept_bytes
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.nets.generators import ImageGenerator
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.observer import NEEDS_STUDENT
from dfkd_lab.system.device import free_memory
from dfkd_lab.system.rng import preserved

LOWER = {"memory": "capacity", "activations": "batch", "networks": "width"}
"""The setting that makes a part smaller."""
ADAM, SGD = 2, 1
"""Numbers an optimizer keeps of each parameter."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a run takes at its peak, by part; ``used`` is what its process had before, ``free`` None if unknown.

    networks: teacher, student, synthesizer and losses, with gradients and optimizer states. memory: the slot.
    evaluation: its images. activations: of the more expensive step.
    """

    parts: dict[str, int]
    used: int
    free: int | None
    buffer_on: str = "device"
    """Where a buffer's images are; in the host's memory they do not count here."""

    @property
    def fits(self) -> bool:
        """Whether it does, as far as is known."""
        return self.free is None or self.needed <= self.free

    @property
    def needed(self) -> int:
        """All parts together."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        return f"needs about {amount(self.needed)}" + ("" if self.free is None else f", {amount(self.free)} free")

    def record(self) -> dict[str, Any]:
        """Plain values; ``expected_bytes`` is what :func:`dfkd_lab.system.device.peak_memory` should say at the end."""
        return {
            "expected_bytes": self.used + self.needed,
            "free_bytes": self.free,
            "parts": self.parts,
            "buffer_on": self.buffer_on,
        }

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse a run that does not fit.

        Raises:
            SpecError: naming the largest part, or the setting to lower, and what is free.
        """
        if self.fits:
            return
        assert self.free is not None
        largest = max(self.parts, key=lambda part: self.parts[part])
        name = LOWER.get(largest, "")
        what = f"{name} = {settings[name]}" if name in settings else f"its {largest}"
        raise SpecError(
            f"this run needs about {amount(self.needed)} and {amount(self.free)} are free; "
            f"{what} alone takes {amount(self.parts[largest])}"
        )


def estimate(composed: ComposedRun, evaluation: Tensor | None, used: int, free: int | None) -> MemoryEstimate:
    """What ``composed`` will take at its peak; asked before it moves to its device.

    Args:
        composed: Not changed, and no random number is drawn.
        evaluation: The evaluation images, or None.
        used: Bytes its process has on the device before anything of the run is there.
        free: Bytes that are free there; None if unknown.
    """
    recipe = composed.recipe
    others = [module for name, module in recipe.modules().items() if name != "memory"]
    kept = recipe.memory.images.nbytes if isinstance(recipe.memory, ImageBuffer) and recipe.memory.on_host else 0
    trained = SGD if recipe.schedule.optimizer == "sgd" else ADAM
    parts = {
        "networks": 2 * _bytes([composed.teacher])  # the folded copy
        + _bytes([composed.student], states=1 + trained)
        + _bytes(others, states=1 + ADAM),
        "memory": _bytes([recipe.memory], states=1 + ADAM) - kept,
        "evaluation": 0 if evaluation is None else kept_bytes(evaluation, composed.device),
        "activations": _activations(composed),
    }
    return MemoryEstimate(parts, used, free, "host" if kept else "device")


def check_buffer(composed: ComposedRun, buffer_on: str) -> None:
    """Refuse to keep images in the host's memory that are none of a buffer.

    Raises:
        SpecError: for "host", where the memory is no buffer of images.
    """
    if buffer_on == "host" and not _keeps_images(memory := composed.recipe.memory):
        name = type(memory).__name__
        raise SpecError(f"buffer_on = 'host', and {name} is no buffer of images; allowed: 'auto' or 'device'")


def _keeps_images(memory: Any) -> TypeGuard[ImageBuffer]:
    return isinstance(memory, ImageBuffer) and memory.reads_images


def place(
    composed: ComposedRun, buffer_on: str, evaluation: Tensor | None, used: int, free: int | None
) -> MemoryEstimate:
    """Decide whether a buffer's images stay in the host's memory, and estimate what the run then takes on its device.

    Args:
        composed: Its buffer is told.
        buffer_on: "device", "host", or "auto": the host's where the run does not fit otherwise.
        evaluation: As in :func:`estimate`; so are ``used`` and ``free``.
        used: See there.
        free: See there.

    Raises:
        SpecError: for "host", where the memory is no buffer of images, or the host's is not enough for them.
    """
    check_buffer(composed, buffer_on)
    memory, found = composed.recipe.memory, estimate(composed, evaluation, used, free)
    if not _keeps_images(memory):
        return found
    if composed.device.type == "cpu" or buffer_on == "device" or (buffer_on == "auto" and found.fits):
        return found
    size, at_hand = memory.images.nbytes, free_memory(torch.device("cpu"))
    needed = 2 ** (size - 1).bit_length() + size  # pinned memory comes in powers of two; and a checkpoint's copy
    if at_hand is None or needed <= at_hand:
        memory.on_host = True
        return estimate(composed, evaluation, used, free)
    if buffer_on == "host":
        room = f"{amount(needed)} of the host's memory, and {amount(at_hand)} are free"
        raise SpecError(f"buffer_on = 'host' needs {room}; lower capacity = {memory.capacity}")
    return found


def out_of_memory(error: BaseException, settings: Mapping[str, Any]) -> str:
    """The sentence for an error that says memory ran out, with the setting to lower; empty for any other error."""
    text = str(error)
    cpu = re.search(r"DefaultCPUAllocator.*tried to allocate (\d+) bytes", text)
    gpu = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", text)
    if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and cpu is None:
        return ""
    size = amount(int(cpu[1])) if cpu else gpu[1] if gpu else "more"
    largest = [f"{name} = {settings[name]}" for name in ("capacity", "batch", "width") if name in settings]
    cure = f"; lower {' or '.join(largest)}" if largest else ""
    return f"out of memory: this run needs {size} in one piece, which is not there{cure}"


@contextlib.contextmanager
def explained(settings: Mapping[str, Any], kept: str = "") -> Iterator[None]:
    """Turn an error that says memory ran out into a sentence, with what is ``kept``.

    Raises:
        SpecError: if nothing is kept, as while a run is composed.
        RunError: otherwise.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (sentence := out_of_memory(error, settings)):
            raise
        raise (RunError(f"{sentence}; {kept}") if kept else SpecError(sentence)) from None


def amount(size: int) -> str:
    """Bytes in words: "1.2 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _activations(composed: ComposedRun) -> int:
    """Bytes that are kept for a backward pass in the more expensive step."""
    recipe, schedule = composed.recipe, composed.recipe.schedule
    image = torch.zeros(1, *composed.shape)
    net = getattr(recipe.synthesizer, "net", None)
    teacher, student = _outputs(composed.teacher, image), _outputs(composed.student, image)
    generator = _outputs(net, torch.zeros(1, *net.latent_shape)) if isinstance(net, ImageGenerator) else 0
    runs_student = any(needs_of(each.loss) & NEEDS_STUDENT for each in recipe.losses.values() if each.weight)
    images = getattr(recipe.synthesizer, "n", schedule.batch) if schedule.g_steps else 0
    read = schedule.batch + getattr(recipe.memory, "replayed", 0)
    size = 2 if composed.autocast.precision == "bf16" else 4
    return size * max(images * (generator + teacher + student * runs_student), read * student)


@torch.no_grad()
def _outputs(net: nn.Module, inputs: Tensor) -> int:
    """Numbers in the outputs of all layers for ``inputs``; 0 where the network cannot take them yet."""
    counts: list[int] = []
    # nothing can be hooked inside a scripted module
    layers = [
        each for each in net.modules() if not list(each.children()) and not isinstance(each, torch.jit.ScriptModule)
    ]
    count = lambda layer, given, output: counts.append(output.numel() if isinstance(output, Tensor) else 0)  # noqa: E731
    handles = [layer.register_forward_hook(count) for layer in layers]
    training = net.training
    try:
        with preserved():
            net.eval()(inputs)
    except Exception:  # an estimate ends no run: what is wrong will be wrong in the first step too, which can say so
        counts.clear()
    finally:
        net.train(training)
        for handle in handles:
            handle.remove()
    return sum(counts)


def _bytes(modules: Iterable[Any], states: int = 0) -> int:
    """What parameters, ``states`` times as much for those that are trained, and buffers take; each counted once."""
    networks = [module for module in modules if isinstance(module, nn.Module)]
    parameters = {id(each): each for module in networks for each in module.parameters()}
    buffers = {id(each): each for module in networks for each in module.buffers()}
    trained = sum(each.nbytes for each in parameters.values() if each.requires_grad)
    return sum(each.nbytes for each in (*parameters.values(), *buffers.values())) + states * trained
