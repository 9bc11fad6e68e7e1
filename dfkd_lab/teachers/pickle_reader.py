"""A pickle read as data: plain values, where tensors are stored, and stand-ins; nothing it names is imported or called.

``torch.load(weights_only=True)`` calls what is on its list with arguments from the file, so a file decides how much
memory is taken, and it refuses the plain data that training scripts keep beside the weights. Here nothing is called.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import torch

from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable

MOST_OPERATIONS = 600_000
"""Of a pickle, about 35 a tensor; each makes at most one object, so this bounds seconds and memory."""
CODE = frozenset(
    ["os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "pty", "runpy", "importlib", "ctypes", "webbrowser"]
)
"""Modules that only an attack names in a checkpoint."""
CODE_BUILTINS = frozenset(("eval", "exec", "compile", "open", "input", "breakpoint", "__import__", "execfile"))

STORAGES: dict[str, torch.dtype] = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
DTYPES = {str(dtype): dtype for dtype in STORAGES.values()}
KINDS = {
    "sparse": "sparse",
    "qtensor": "quantized",
    "meta": "meta",
    "nested": "nested",
    "njt": "nested",
}
"""What a tensor is that no network's weights are, by a word in the function of torch that would make it."""


@dataclass(frozen=True, eq=False)
class Named:
    """A class or function that a pickle names."""

    name: str


@dataclass(eq=False)
class StandIn:
    """What a class or function of that name would make; ``state`` is what it would be given."""

    name: str
    state: Any = None


@dataclass(frozen=True, eq=False)
class Storage:
    """A stretch of numbers in the file; without a ``dtype`` they are of a kind that is not read."""

    key: str
    dtype: torch.dtype | None
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """Where the values of a tensor are said to be; nothing of it is checked yet."""

    storage: Storage
    offset: Any
    size: Any
    stride: Any
    dtype: torch.dtype | None


@dataclass(frozen=True, eq=False)
class OddTensor:
    """A tensor that is not plain numbers side by side, and what it is instead."""

    kind: str


class PickleReader:
    """The machine of a pickle, without its calls.

    ``read()`` gives the next object of a stream; ``storages`` are those it has met, by key.
    """

    def __init__(self, stream: IO[bytes], name: str):
        self.stream, self.name = stream, name
        self.storages: dict[str, Storage] = {}
        self.left = MOST_OPERATIONS

    def read(self) -> Any:
        """The next object.

        Raises:
            SpecError: if the pickle names code of the system, or is too long.
            ValueError, KeyError, IndexError, TypeError, AttributeError: if it is damaged.
        """
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        for operation, argument, _ in pickletools.genops(self.stream):
            self.left -= 1
            if self.left < 0:
                raise SpecError(
                    f"{self.name} has a pickle of more than {MOST_OPERATIONS} operations; save the weights alone"
                )
            name = operation.name
            if name == "STOP":
                return self.stack.pop()
            if (act := _OPERATIONS.get(name)) is not None:
                act(self, argument)
            elif argument is None:
                raise ValueError(f"{name} is of no checkpoint")
            else:
                self._push(argument)
        raise ValueError("it ends before its last operation")

    def _push(self, value: Any) -> None:
        self.stack.append(value)  # the stack of now, not of before the value was made

    def _items(self) -> list[Any]:
        """What lies above the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _push_tuple(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def _set(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # a tuple of tuples takes for ever to hash, and no entry with weights is called so
            if isinstance(target, dict) and isinstance(key, (str, int, float, bytes)):
                target[key] = value

    def _push_dictionary(self, _: Any) -> None:
        pairs = self._items()
        self._push({})
        self._set(pairs)

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _global(self, name: str) -> None:
        module, _, attribute = printable(name[:200]).partition(" ")
        if module.partition(".")[0] in CODE or (module in ("builtins", "__builtin__") and attribute in CODE_BUILTINS):
            raise SpecError(
                f"{self.name} holds more than tensors: it would run {module}.{attribute}, and code in a file is "
                "never run; take the weights from somebody you trust"
            )
        self._push(Named(f"{module}.{attribute}"))

    def _call(self, arguments: Any, called: Any) -> None:
        self._push(_made(called, arguments))

    def _call_with_names(self, _: Any) -> None:
        self.stack.pop()  # the named arguments
        self._call(self.stack.pop(), self.stack.pop())

    def _call_first(self, items: list[Any]) -> None:
        self._call(tuple(items[1:]), items[0])

    def _call_named(self, name: str) -> None:
        items = self._items()
        self._global(name)
        self._call(tuple(items), self.stack.pop())

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            self.stack[-1].state = state

    def _persistent(self, key: Any) -> None:
        if not isinstance(key, tuple) or len(key) < 5 or not isinstance(key[1], Named) or type(key[4]) is not int:
            self._push(StandIn("a persistent object"))
            return
        dtype = STORAGES.get(key[1].name.rpartition(".")[2]) if len(key) == 5 or key[5] is None else None
        storage = Storage(str(key[2]), dtype, key[4])
        self._push(self.storages.setdefault(storage.key, storage))


def _made(called: Any, arguments: Any) -> Any:
    """What a call would give, as far as weights need it."""
    name = called.name if isinstance(called, Named) else "something"
    given = arguments if isinstance(arguments, tuple) else ()
    function = name.removeprefix("torch._utils.").removeprefix("torch._tensor.")
    if function in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
        storage, offset, size, stride = given[:4]
        last = given[6] if function.endswith("v3") else None
        dtype = DTYPES.get(last.name) if isinstance(last, Named) else storage.dtype
        return StoredTensor(storage, offset, size, stride, dtype)
    if function in ("_rebuild_parameter", "_rebuild_parameter_with_state", "torch.nn.parameter.Parameter"):
        return given[0]
    if function == "_rebuild_from_type_v2":  # of a subclass that computes as its parent does, such as nn.Buffer
        return _made(given[0], given[2])
    if "_rebuild" in name and name.startswith("torch."):
        return OddTensor(next((kind for word, kind in KINDS.items() if word in function), "wrapped"))
    if name in ("collections.OrderedDict", "collections.defaultdict", "builtins.dict"):
        return _dictionary(given)
    if name == "torch.Size":
        return given[0]
    return StandIn(name)


def _dictionary(given: tuple[Any, ...]) -> dict[Any, Any]:
    """An empty one, or of the pairs that Python 2 gave it."""
    pairs = given[0] if given and isinstance(given[0], list) else []
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and isinstance(pair[0], str)}


_OPERATIONS: dict[str, Callable[[PickleReader, Any], object]] = {
    "PROTO": lambda self, _: None,
    "FRAME": lambda self, _: None,
    "NONE": lambda self, _: self._push(None),
    "NEWTRUE": lambda self, _: self._push(True),
    "NEWFALSE": lambda self, _: self._push(False),
    "MARK": PickleReader._mark,
    "POP": lambda self, _: self.stack.pop() if self.stack else self._items(),
    "POP_MARK": lambda self, _: self._items(),
    "DUP": lambda self, _: self._push(self.stack[-1]),
    "EMPTY_DICT": lambda self, _: self._push({}),
    "EMPTY_LIST": lambda self, _: self._push([]),
    "EMPTY_SET": lambda self, _: self._push([]),  # a list, for hashing what is in it may never end
    "EMPTY_TUPLE": lambda self, _: self._push(()),
    "TUPLE1": lambda self, _: self._push_tuple(1),
    "TUPLE2": lambda self, _: self._push_tuple(2),
    "TUPLE3": lambda self, _: self._push_tuple(3),
    "TUPLE": lambda self, _: self._push(tuple(self._items())),
    "LIST": lambda self, _: self._push(self._items()),
    "FROZENSET": lambda self, _: self._push(self._items()),
    "DICT": PickleReader._push_dictionary,
    "APPEND": lambda self, _: self._extend([self.stack.pop()]),
    "APPENDS": lambda self, _: self._extend(self._items()),
    "ADDITEMS": lambda self, _: self._extend(self._items()),
    "SETITEM": lambda self, _: self._set([self.stack.pop(-2), self.stack.pop()]),
    "SETITEMS": lambda self, _: self._set(self._items()),
    "PUT": lambda self, place: self.memo.__setitem__(place, self.stack[-1]),
    "BINPUT": lambda self, place: self.memo.__setitem__(place, self.stack[-1]),
    "LONG_BINPUT": lambda self, place: self.memo.__setitem__(place, self.stack[-1]),
    "MEMOIZE": lambda self, _: self.memo.__setitem__(len(self.memo), self.stack[-1]),
    "GET": lambda self, place: self._push(self.memo[place]),
    "BINGET": lambda self, place: self._push(self.memo[place]),
    "LONG_BINGET": lambda self, place: self._push(self.memo[place]),
    "GLOBAL": PickleReader._global,
    "STACK_GLOBAL": lambda self, _: self._global(" ".join([self.stack.pop(-2), self.stack.pop()])),
    "REDUCE": lambda self, _: self._call(self.stack.pop(), self.stack.pop()),
    "NEWOBJ": lambda self, _: self._call(self.stack.pop(), self.stack.pop()),
    "NEWOBJ_EX": PickleReader._call_with_names,
    "OBJ": lambda self, _: self._call_first(self._items()),
    "INST": PickleReader._call_named,
    "BUILD": PickleReader._build,
    "BINPERSID": lambda self, _: self._persistent(self.stack.pop()),
    "PERSID": PickleReader._persistent,
}
"""What each operation does but those that push their argument, a number or text."""
