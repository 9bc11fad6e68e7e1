"""A step that is played back: its operators, found once, on the same tensors, without what led to them.

Much of a small network's step is Python, autograd and autocast finding out again what they found a step ago. On a CPU
what is played is a function of operators and nothing else; on a GPU a CUDA graph.
"""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")
Place = tuple[Any, ...]


class Tape(Generic[T]):
    """``tape()`` takes a step, by itself or played back; both change the same tensors by the same bits.

    A step returns tensors in lists, dictionaries and dataclasses, and changes others in place. It is played once two
    recordings in a row came out the same: operators, numbers, and the tensors they were called on. A step that looks
    at a tensor's value, whose shapes depend on one, or that leaves behind a new tensor which it does not return, is
    never played. What a recording cannot know is whether the step goes by something else than tensors and will change
    its ways before the next one: what it goes by has to be in ``stage``.

    A step that is recorded may differ in its last bits from the same step unrecorded, because autograd then adds up
    gradients in another order.
    """

    def __init__(self, device: torch.device):
        self.device, self.played = device, False
        """``played``: whether Python had no part in the last step."""
        self._aside: Aside | None = None
        self._stage: Hashable = None
        self._program: Program | None = None
        self._graph: Graph[T] | None = None
        self._sure = False

    def begin(self, step: Callable[[], T]) -> None:
        """From now on ``step``, which is recorded anew."""
        self._step, self._sure = step, False

    def __call__(self, stage: Hashable = 0) -> T:
        """One step. On a GPU what it returns is overwritten by the next one: see :func:`copied`."""
        self.played = self._sure = self._sure and stage == self._stage
        self._stage = stage
        if self._program is None or not self._sure:
            return self._recorded()
        if self._aside is None:
            return self._program.play()
        if self._graph is None:
            self._graph, self.played = Graph(self._step, self._aside.stream), False
        return self._graph.play()

    def _recorded(self) -> T:
        if self.device.type == "cuda" and self._aside is None:
            self._aside = Aside(self.device)  # not before: a run is copied to estimate what it needs
        with self._aside or nullcontext(), Recorder() as recorder:
            found = self._step()
        program = recorder.program(found)
        self._sure = program is not None and program == self._program
        if not self._sure:
            self._graph = None
        self._program = program
        return found


class Aside:
    """``with aside:`` a GPU works in a stream of its own, after what was asked of it before and before what comes then.

    A graph can be captured only where autograd and libraries have worked before.
    """

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def __enter__(self) -> None:
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        self._inside = torch.cuda.stream(self.stream)
        self._inside.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._inside.__exit__(*exception)
        torch.cuda.current_stream(self.device).wait_stream(self.stream)


class Graph(Generic[T]):
    """A step as a CUDA graph, captured in ``stream``."""

    def __init__(self, step: Callable[[], T], stream: torch.cuda.Stream):
        self._graph = torch.cuda.CUDAGraph()
        # a thread that writes samples may ask for memory meanwhile; recorded as before, for the same bits
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"), Recorder():
            self._found = step()  # nothing is computed yet

    def play(self) -> T:
        """One step."""
        self._graph.replay()
        return self._found


@dataclasses.dataclass(frozen=True)
class Program:
    """The source of a function, what it is called with, and the shape of what it returns.

    Equal programs do the same to the same tensors.
    """

    source: str
    keys: tuple[Any, ...]
    given: list[Any] = dataclasses.field(compare=False)
    found: Any = dataclasses.field(compare=False)

    def play(self) -> Any:
        """Call the function."""
        with torch.no_grad():
            results = function(self.source)(*self.given)
        return mapped(self.found, Slot, results.__getitem__)


class Slot(int):
    """The number of a returned tensor."""


@lru_cache(maxsize=32)
def function(source: str) -> Callable[..., list[Tensor]]:
    """The function ``play`` that ``source`` defines."""
    defined: dict[str, Any] = {}
    exec(source, defined)
    return defined["play"]


def copied(found: T) -> T:
    """``found`` with tensors of its own."""
    return mapped(found, Tensor, Tensor.clone)


def mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """``value`` with everything of this kind in its lists, dictionaries and dataclasses changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, list):
        return [mapped(each, kind, change) for each in value]
    if isinstance(value, dict):
        return {name: mapped(each, kind, change) for name, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{name: mapped(each, kind, change) for name, each in vars(value).items()})
    return value


def place_of(tensor: Tensor) -> Place:
    """Where a tensor's numbers are. Two in one place are the same; autograd makes new objects of what it saved."""
    storage = tensor.untyped_storage()
    return storage._cdata, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


@lru_cache(maxsize=1000)
def about_tensors(operator: Any) -> bool:
    """Whether an operator takes or returns any, other than a profiler's mark or a question about types."""
    return "Tensor" in str(operator._schema)


def looks(operator: Any, args: tuple[Any, ...]) -> bool:
    """Whether what an operator returns has another shape, or is no tensor, for other values."""
    if operator.overloadpacket.__name__ in ("index", "index_put", "index_put_"):  # long ones have one shape
        return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    return torch.Tag.dynamic_output_shape in operator.tags or torch.Tag.data_dependent_output in operator.tags


class Recorder(TorchDispatchMode):
    """Writes down the operators called inside, as they are below autograd and autocast, as lines of a function.

    Results are r0, r1, ...; what comes from outside is e (a tensor), f (an operator) or c (a constant) and a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.playable = True
        self._lines: list[tuple[list[str], str, set[str]]] = []
        self._names: dict[Place, str] = {}
        self._made: list[weakref.ref[Any]] = []
        self._given: dict[tuple[Any, ...], tuple[str, Any]] = {}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not about_tensors(operator):
            return operator(*args, **(kwargs or {}))
        used: dict[str, Tensor] = {}
        call = [self._expression(each, used) for each in args]
        call += [f"{name}={self._expression(each, used)}" for name, each in (kwargs or {}).items()]
        found = operator(*args, **(kwargs or {}))
        self.playable = self.playable and not looks(operator, args)
        places = {place_of(each) for each in used.values()}
        many = isinstance(found, (tuple, list))
        targets = [self._target(each, places) for each in (found if many else [found])]
        line = f"{self._constant('f', operator._op)}({', '.join(call)})"
        if named := [each for each in targets if each != "_"]:
            line = f"[{', '.join(targets)}] = {line}" if many else f"{targets[0]} = {line}"
        self._lines.append((named, line, set(used)))
        return found

    def program(self, found: Any) -> Program | None:
        """What was recorded, returning ``found``; None if it cannot be played."""
        results: list[Tensor] = []
        mapped(found, Tensor, results.append)
        if not self.playable or self._leaves_behind(results):
            return None
        numbers = itertools.count()
        outline = mapped(found, Tensor, lambda each: Slot(next(numbers)))
        alive: dict[str, Tensor] = {}
        lines = [f" return [{', '.join(self._expression(each, alive) for each in results)}]"]
        needed = set(alive)
        for targets, line, used in reversed(self._lines):
            # what is of no further use is let go at once, as in the step itself
            if last := sorted(name for name in used.union(targets) - needed if name.startswith("r")):
                lines.append(f" {' = '.join(last)} = None")
            lines.append(f" {line}")
            needed |= used
        lines.append(f"def play({', '.join(name for name, _ in self._given.values())}):")
        given = [value for _, value in self._given.values()]
        return Program("\n".join(reversed(lines)), tuple(self._given), given, outline)

    def _leaves_behind(self, results: list[Tensor]) -> bool:
        """Whether a tensor that was made is still there and neither a result nor part of what was there before."""
        known = {place_of(each)[0] for each in results} | {key[1] for key in self._given if key[0] == "e"}
        return any((storage := each()) is not None and storage._cdata not in known for each in self._made)

    def _target(self, result: Any, places: set[Place]) -> str:
        if isinstance(result, Tensor) and (place := place_of(result)) not in places:
            self._made.append(weakref.ref(result.untyped_storage()))
            self._names[place] = f"r{len(self._made)}"
            return self._names[place]
        self.playable = self.playable and (result is None or isinstance(result, Tensor))
        return "_"

    def _expression(self, value: Any, used: dict[str, Tensor]) -> str:
        if isinstance(value, Tensor):
            place = place_of(value)
            if place not in self._names:
                self._names[place] = self._constant("e", value, place)
            used[self._names[place]] = value
            return self._names[place]
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(self._expression(each, used) for each in value)}]"
        if value is None or type(value) in (bool, int, str):
            return repr(value)
        # by its digits: 0.0 is not -0.0, and a number that changes from round to round leaves the source as it is
        return self._constant("c", value, (value.hex(),) if type(value) is float else None)

    def _constant(self, kind: str, value: Any, key: tuple[Any, ...] | None = None) -> str:
        key = (kind, *(key or (value,)))
        if key not in self._given:
            self._given[key] = f"{kind}{len(self._given)}", value
        return self._given[key][0]
