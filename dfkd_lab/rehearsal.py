"""A run rehearsed in small, on copies of its networks, to see what it will hold in memory and when."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dfkd_lab import measure
from dfkd_lab.loop import Run
from dfkd_lab.tally import Tally

LARGE = 1 << 20
"""Bytes from which a buffer is not copied but replaced by zeros, which take no memory until something is written."""

History = list[int]
"""Bytes that live after each operator, beside those that were there before."""


class Live(TorchDispatchMode):
    """Counts the bytes of the storages that operators make, until they die."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.history, self._known = 0, History(), dict[int, int]()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for each in tree_leaves((args, kwargs)):
            self._meet(each, new=False)
        made = operator(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            self._meet(each, new=True)
        self.history.append(self.bytes)
        return made

    def _meet(self, value: Any, new: bool) -> None:
        if isinstance(value, Tensor) and (storage := value.untyped_storage())._cdata not in self._known:
            size = self._known[storage._cdata] = storage.nbytes() if new else 0
            self.bytes += size
            weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, storage: int) -> None:
        self.bytes -= self._known.pop(storage)


def rehearse(run: Run, n: int) -> list[tuple[int, History]]:
    """A step of the synthesizer, one of the student and an evaluation, with ``n`` images, after such a turn unseen.

    Of each of the three the number of images it was done with, and what lived after each operator. All terms count,
    and optimizers and memories have their states, as late in a run. Nothing of ``run`` changes, and no random number
    of the CPU's generator is used up.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # the same run is always expected to take the same
        double = _double(run, n)
        with Live() as live:
            for _ in range(2):
                double.recipe.memory.open(1.0)
                live.history = []
                double._synthesize(Tally())
                synthesis, live.history = live.history, []
                batch = double._distil(Tally(), 0)
                distillation, live.history = live.history, []
            if double.evaluate:
                double.evaluate(double.student)
    return [(n, synthesis), (len(batch.images), distillation), (n, live.history)]


def _double(run: Run, n: int) -> Run:
    """A copy of ``run`` that works on ``n`` images at a time, with an empty memory."""
    modules = [each for each in run.recipe.modules().values() if isinstance(each, nn.Module)]
    buffers = [buffer for module in modules for buffer in module.buffers() if buffer.nbytes >= LARGE]
    known: dict[int, Any] = {id(buffer): torch.zeros_like(buffer) for buffer in buffers}
    images = run.evaluate.images if isinstance(run.evaluate, measure.Accuracy) else None
    few = None if images is None else measure.Accuracy(images[:n], run.evaluate.labels[:n])  # type: ignore[union-attr]
    double = copy.deepcopy(run, {**known, id(run.evaluate): few, id(run.poll): lambda: None})
    double.device, double.round = torch.device("cpu"), run.rounds - 1
    schedule, recipe = run.recipe.schedule, double.recipe
    recipe.schedule = dataclasses.replace(schedule, g_steps=min(1, schedule.g_steps), s_steps=1, cycles=1, batch=n)
    for part, name in ((recipe.synthesizer, "n"), (recipe.memory, "replayed")):
        if hasattr(part, name):
            setattr(part, name, min(n, getattr(part, name)))
    return double
