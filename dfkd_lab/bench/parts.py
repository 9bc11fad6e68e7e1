"""What single parts cost: memories by the images they hold, views, and networks by precision and layout."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.bench.overhead import Pair, seconds
from dfkd_lab.engine.precision import Autocast
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories import CachedViews, ImageBuffer, PriorityBuffer
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.primitives.views import CropFlip, Identity, ResizedCrop, Roll, View

VIEWS = 4
"""Views of each image in the measured cache."""
CACHES = 128 * 2**20
"""More bytes than any cache of a processor or GPU holds."""
Row = dict[str, Any]


def in_turns(
    calls: dict[Any, Callable[[], object]],
    repeats: int,
    device: torch.device,
    before: Callable[[], object] = lambda: None,
) -> dict[Any, float]:
    """The median of the milliseconds of each call, ``before`` called untimed before each.

    One round of calls after the other, so that all are slowed alike.
    """
    times: dict[Any, list[float]] = defaultdict(list)
    for turn in range(repeats + 1):
        for name, call in calls.items():
            before()
            spent = seconds(call, 1, device)
            if turn:  # the first warms up
                times[name].append(1000 * spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def memories(
    shape: tuple[int, int, int], counts: Sequence[int], n: int, repeats: int, device: torch.device
) -> list[Row]:
    """Milliseconds to write and to read ``n`` images, by kind of memory and the images it holds.

    As in a run, where the passes of the networks have left nothing of the images in the caches.
    """
    passed = torch.zeros(CACHES, dtype=torch.uint8, device=device)
    sweep = partial(passed.add_, 1)
    batch = Batch(torch.rand(n, *shape, device=device), predicted=torch.zeros(n, dtype=torch.long, device=device))
    rows = []
    for kind in ("ImageRing", "PriorityRing", "CachedViews"):
        held = {count: filled(kind, count, shape, device) for count in counts}
        writes = in_turns({count: partial(each.write, batch) for count, each in held.items()}, repeats, device, sweep)
        reads = in_turns({count: partial(read, each, n) for count, each in held.items()}, repeats, device, sweep)
        for count, memory in held.items():
            size = sum(each.numel() * each.element_size() for each in memory.buffers())
            times = {"write_ms": writes[count], "read_ms": reads[count]}
            rows.append({"memory": kind, "images": count, "n": n, **times, "bytes": size})
    return rows


def filled(kind: str, count: int, shape: tuple[int, int, int], device: torch.device) -> Any:
    """A memory full of random images; of cached views a quarter of the images, so that it holds as many views."""
    ring = PriorityBuffer(count, shape, 0.6, 0.4) if kind == "PriorityRing" else ImageBuffer(count, shape)
    memory: Any = ring
    if kind == "CachedViews":
        teacher = Frozen(Mean(), [0.5] * shape[0], [0.25] * shape[0]).to(device)
        ring = ImageBuffer(max(1, count // VIEWS), shape)
        memory = CachedViews(ring, Identity(), Observer(teacher, nn.Identity()), VIEWS, 10)
    memory.to(device)
    for pixels in (each for each in memory.buffers() if each.dtype == torch.uint8):
        pixels.random_(0, 256)  # touches every page
    ring.written.fill_(ring.capacity)
    ring.restored()
    if isinstance(ring, PriorityBuffer):
        index = torch.arange(count, device=device)
        ring.feedback(Batch(ring.images[:0], index=index), torch.rand(count, device=device))
    return memory


class Mean(nn.Module):
    """A teacher that costs nothing: logits [N, 10] from images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))[:, None].expand(-1, 10)


def read(memory: Any, n: int) -> None:
    """What a student step does with a memory."""
    batch = memory.read(n, lambda n: None)
    memory.feedback(batch, torch.ones(n, device=batch.images.device))


def views(shape: tuple[int, int, int], n: int, repeats: int, device: torch.device) -> list[Row]:
    """Milliseconds of each view of ``n`` images, forward, and forward and backward."""
    images = torch.rand(n, *shape, device=device)
    known: dict[str, View] = {"Identity": Identity(), "CropFlip": CropFlip(4, True), "Roll": Roll(2, True)}
    known["ResizedCrop"] = ResizedCrop(0.25, True)

    def back(view: View) -> None:
        view(images.clone().requires_grad_()).sum().backward()

    forward = in_turns({name: partial(view, images) for name, view in known.items()}, repeats, device)
    both = in_turns({name: partial(back, view) for name, view in known.items()}, repeats, device)
    return [{"view": name, "n": n, "forward_ms": forward[name], "both_ms": both[name]} for name in known]


def precisions(pair: Pair, batch: int, repeats: int, device: torch.device) -> list[Row]:
    """Milliseconds of the passes of both networks by precision and layout of the filters."""
    calls: dict[Any, Callable[[], object]] = {}
    for held in ("fp32", "bf16"):
        for layout in ("contiguous", "channels last"):
            for name, call in _passes(pair, batch, Autocast(device, held), layout == "channels last", device).items():
                calls[held, layout, name] = call
    times = in_turns(calls, repeats, device)
    names = dict.fromkeys(name for _, _, name in times)
    return [
        {"precision": held, "layout": layout, **{name: times[held, layout, name] for name in names}}
        for held, layout in dict.fromkeys((held, layout) for held, layout, _ in times)
    ]


def _passes(
    pair: Pair, batch: int, autocast: Autocast, last: bool, device: torch.device
) -> dict[str, Callable[[], None]]:
    scale = [0.5] * pair.shape[0], [0.25] * pair.shape[0]
    teacher = Frozen(nets.classifier(pair.teacher, pair.shape[0], pair.classes), *scale).to(device)
    student = Classifier(nets.classifier(pair.student, pair.shape[0], pair.classes), *scale).to(device)
    for net in (teacher, student) if last else ():
        autocast.prepare(net, pair.shape)
    images = torch.rand(batch, *pair.shape, device=device)

    def answer() -> None:
        with torch.no_grad(), autocast:
            teacher(images)

    def invert() -> None:
        shown = images.clone().requires_grad_()
        with autocast:
            logits = teacher(shown)
        logits.sum().backward()

    def train() -> None:
        with autocast:
            logits = student(images)
        student.zero_grad()
        F.cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.long, device=device)).backward()

    return {"teacher_forward_ms": answer, "teacher_to_images_ms": invert, "student_ms": train}
