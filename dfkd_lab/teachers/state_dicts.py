"""Where in a checkpoint of somebody's training script the weights are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dfkd_lab.teachers.pickle_reader import OddTensor, StandIn, StoredTensor

WRAPPERS = (
    *("ema_state_dict", "model_ema", "ema", "state_dict_ema", "state_dict", "model_state_dict", "model", "net"),
    *("weights", "params_ema", "params", "network", "teacher", "student", "backbone"),
)
"""Entries under which a training script keeps the weights; averaged ones are preferred, as they are what it tested."""
MOST_DEPTH = 8
MOST_ENTRIES = 32
"""Of a file that are looked at; of a training script's there are some ten."""
LONGEST_ENTRY = 60

Stored = StoredTensor | OddTensor


@dataclass(frozen=True)
class StateDict:
    """Tensors of a file that go together, not read yet, the entries they were found in, and what is beside them."""

    tensors: dict[str, Stored]
    found_in: str
    others: dict[str, Any]
    """What is no tensor."""

    @property
    def is_expected(self) -> bool:
        """Whether it lies where weights are kept."""
        return not self.found_in or self.found_in.rpartition(".")[2] in WRAPPERS


def find(content: Any) -> list[StateDict]:
    """The state dicts in what a file holds, likeliest first.

    One that holds itself, or others thousands deep, is looked at once and to a small depth.
    """
    return list(_walk(content, (), {}))


def _walk(content: Any, path: tuple[str, ...], seen: dict[int, Any]) -> Iterator[StateDict]:
    if isinstance(content, StandIn):
        content = module_state(content)
    if not isinstance(content, dict) or len(path) > MOST_DEPTH or len(seen) >= MOST_ENTRIES or id(content) in seen:
        return
    seen[id(content)] = content  # kept, for another dictionary could get the number of one that is gone
    inner = [name for name, value in content.items() if isinstance(value, (dict, StandIn)) and _can_be_said(name)]
    for name in sorted(inner, key=lambda name: WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS)):
        yield from _walk(content[name], (*path, name), seen)
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Stored)}
    # one number, or a list of them, is what a script counts; a network has filters or matrices
    if any(isinstance(value, OddTensor) or _dimensions(value) > 1 for value in tensors.values()):
        others = {str(name): value for name, value in content.items() if not isinstance(value, Stored)}
        yield StateDict(tensors, ".".join(path), others)


def _can_be_said(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= LONGEST_ENTRY and name.isprintable()


def _dimensions(stored: StoredTensor) -> int:
    return len(stored.size) if isinstance(stored.size, tuple) else 0


def module_state(module: StandIn) -> dict[str, Any] | None:
    """The state dict of a network that was pickled whole, by what its class would have been given; None of any other.

    Nothing of the class is needed for that, and nothing is executed.
    """
    found: dict[str, Any] = {}
    waiting, seen = [("", module)], set()
    while waiting:
        prefix, each = waiting.pop()
        if not isinstance(each, StandIn) or not isinstance(each.state, dict) or id(each) in seen:
            continue
        seen.add(id(each))
        fleeting = each.state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            tensors = each.state.get(kind)
            for name, value in tensors.items() if isinstance(tensors, dict) else ():
                if isinstance(value, Stored) and not (isinstance(fleeting, list) and name in fleeting):
                    found[f"{prefix}{name}"] = value
        inner = each.state.get("_modules")
        # last first, so that they are taken in their order
        for name, value in reversed(inner.items()) if isinstance(inner, dict) else ():
            waiting.append((f"{prefix}{name}.", value))
    return found or None
