"""A GPU that is not there: its tensors compute on the CPU, refuse what CUDA refuses, and count kernels and waits.

    python -m tests.simulated_gpu fast ssd_kd --cache-views 2

runs three rounds of each method on it and prints, as JSON, what a step of synthesizer and student took; "--and" begins
another such request. It has to be a process of its own, because the device is made known to all of torch. What it
cannot show: whether a kernel exists on a real GPU, how long it takes, and autocast.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.support import WAITING, tiny

NAME = "simulated"
PACKAGE = Path(__file__).parents[1] / "dfkd_lab"
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operators that take an index from the host too, which is then copied."""
WITHOUT_KERNEL = {"detach", "alias", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}


class Counts:
    """What was launched, and where the host would have waited, since the last ``clear``."""

    def __init__(self) -> None:
        self.kernels, self.waits = 0, Counter[str]()

    def clear(self) -> None:
        self.kernels = 0
        self.waits.clear()


COUNTS = Counts()


class Backend(backend_registration._DummyBackendModule):
    """What torch asks a device's module."""

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
DEVICE = torch.device(NAME, 0)


class DeviceTensor(torch.Tensor):
    """A tensor of the simulated device around one on the CPU."""

    inner: Any

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> DeviceTensor:
        made: Any = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.inner = inner
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, torch.Tensor], *_: Any) -> DeviceTensor:
        return DeviceTensor(inner["inner"])

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(operator, args, kwargs or {})

    def __deepcopy__(self, memory: Any) -> torch.Tensor:
        return self.detach().clone()

    def tolist(self) -> Any:
        waited("tolist")
        return self.inner.tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"DeviceTensor({self.inner!r})"


class Device(TorchDispatchMode):
    """``with Device():`` tensors can be made on the simulated device."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(operator, args, kwargs or {})


def compute(operator: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operator, on the CPU; the result is on the device if anything of it was, or shall be."""
    name = operator.overloadpacket.__name__
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    ours = {id(each.inner): each for each in tensors if isinstance(each, DeviceTensor)}
    hosts = [each for each in tensors if not isinstance(each, DeviceTensor)]
    wanted = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else ""
    on_device = wanted == NAME or (bool(ours) and wanted != "cpu")
    if wanted == NAME:
        kwargs = {**kwargs, "device": "cpu"}
    if ours or wanted == NAME:
        watch(operator, name, args, hosts, wanted)
    unwrap: Callable[[Any], Any] = lambda each: each.inner if isinstance(each, DeviceTensor) else each  # noqa: E731
    result = operator(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    if name == "copy_":
        return args[0]
    known = {**ours, **{id(each): each for each in hosts}}

    def wrap(each: Any) -> Any:
        if not isinstance(each, torch.Tensor) or id(each) in known:
            return known.get(id(each), each)
        return DeviceTensor(each) if on_device else each

    return tree_map(wrap, result)


def watch(operator: Any, name: str, args: Any, hosts: Sequence[torch.Tensor], wanted: str) -> None:
    """Count one operator; refuse tensors of two devices."""
    is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in operator._schema.returns)
    COUNTS.kernels += not is_view and name not in WITHOUT_KERNEL
    copies = name in ("copy_", "_to_copy")
    if copies and (hosts or wanted == "cpu"):
        waited("copy between host and device")
    if name in INDEXING and hosts:
        waited("index on the host")
        hosts = [each for each in hosts if each is args[0]]
    if name in INDEXING and any(getattr(each, "dtype", None) == torch.bool for each in args[1]):
        waited("boolean index")
    if name in WAITING:
        waited(name)
    if not copies and any(each.dim() for each in hosts):
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} at {where()}")


def waited(why: str) -> None:
    """The host would have to wait for the device here."""
    COUNTS.waits[f"{why} at {where()}"] += 1


def where() -> str:
    """The innermost line of the package."""
    frames = [each for each in traceback.extract_stack() if Path(each.filename).is_relative_to(PACKAGE)]
    return f"{Path(frames[-1].filename).relative_to(PACKAGE)}:{frames[-1].lineno}" if frames else "?"


def measure(method: str, cache_views: int, teacher_net: str, student_net: str, rounds: int = 3) -> dict[str, Any]:
    """Run ``method`` on digits, small; of each kind of step the kernels of the last one, and all waits by place."""
    from dfkd_lab import METHODS, data, methods, nets, teachers
    from dfkd_lab.engine import loop, metrics, precision
    from dfkd_lab.engine.composed import ComposedRun
    from dfkd_lab.nets.wrap import Frozen
    from dfkd_lab.runs.planning import settled

    # two steps of a kind, for the second finds what the first left; each takes milliseconds for an operator
    few = {name: value for name, value in {"cycles": 1, "s_steps": 2}.items() if name in tiny(method)}
    settings = {**tiny(method), **few}
    spec = settled({"method": method, "preset": "digits", "rounds": rounds, "settings": settings})
    teacher = Frozen(nets.classifier(teacher_net, 1, 10), (0.5,), (0.25,))
    card = teachers.Card(net=student_net, shape=(1, 16, 16), classes=10, mean=(0.5,), std=(0.25,))
    precision.channels_last = lambda module: None  # it sets the data of parameters, which these do not follow
    with Device():
        composed = ComposedRun.of(
            METHODS[method](**spec.settings), teacher, lambda: teachers.student_of(card, student_net),
            shape=card.shape, classes=10, rounds=rounds, seed=0, device=DEVICE, cache_views=cache_views,
        )  # fmt: skip
        real = data.training_set("digits")
        if methods.remark(METHODS[method]):
            composed.give_real_images(real.images, real.labels)
        evaluate = metrics.Accuracy(real.images[:64], real.labels[:64])
        evaluate.to(DEVICE)
        run = loop.Run(composed, evaluate=evaluate)
        steps = {"_synthesis_step": dict[str, Any](), "_student_step": dict[str, Any]()}
        for name, found in steps.items():
            setattr(run, name, counted(getattr(run, name), found))
        reports = list(run)
    assert len(reports) == rounds
    return {"synthesis": steps["_synthesis_step"], "student": steps["_student_step"]}


def counted(step: Callable[..., Any], found: dict[str, Any]) -> Callable[..., Any]:
    """``step``, which writes into ``found`` its kernels, the last time, and its waits, all together."""

    def counting(*arguments: Any) -> Any:
        COUNTS.clear()
        result = step(*arguments)
        found["kernels"] = COUNTS.kernels
        found["waits"] = found.get("waits", Counter()) + COUNTS.waits
        return result

    return counting


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--cache-views", type=int, default=0)
    parser.add_argument("--teacher", default="convnet_32")
    parser.add_argument("--student", default="convnet_8")
    torch.set_num_threads(1)
    found = []
    for differs, words in groupby(sys.argv[1:], key="--and".__ne__):
        if differs:
            request = parser.parse_args(list(words))
            given = request.cache_views, request.teacher, request.student
            found.append({name: measure(name, *given) for name in request.methods})
    print(json.dumps(found))
