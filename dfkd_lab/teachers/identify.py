"""Which network a state dict belongs to, and which of its tensors goes where."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.system.rng import preserved

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "encoder.")
"""What DataParallel, torch.compile and wrapping modules put before every name."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Match:
    """A network that fits a state dict, and the weights under that network's own names."""

    net: str
    channels: int
    classes: int
    weights: dict[str, Tensor]
    how: str
    """What had to be mended, in words; empty if every name was right."""


def find(weights: dict[str, Tensor], names: Iterable[str] = nets.CLASSIFIERS) -> Match | None:
    """The first network among ``names`` whose tensors are all there, with nothing left over; None if there is none.

    Names are tried as they are, then without wrappers, then in the spelling of other code, and at last layers are
    paired in the order of the file, where shapes agree one by one and no two blocks overlap in part.
    """
    bare, names = unwrapped(weights), list(names)
    attempts = (
        (weights, _same, ""),
        (bare, _same, "names without wrappers"),
        (bare, _respelt, "names respelt"),
        (bare, _in_order, "layers matched in order"),
    )
    for theirs, pair, how in attempts:
        their_layers = _uncounted(_shapes_of(theirs))
        for name in names:
            for channels, classes in sizes(theirs, name):
                pairs = pair(_uncounted(shapes(name, channels, classes)), their_layers)
                if pairs:
                    renamed = {mine: theirs[other] for mine, other in pairs.items()}
                    return Match(name, channels, classes, renamed, how)
    return None


def unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the names of wrappers, where no two tensors then have the same name."""
    pattern = re.compile("^(" + "|".join(re.escape(prefix) for prefix in PREFIXES) + ")+")
    names = [pattern.sub("", name).replace("_orig_mod.", "") for name in weights]
    if len(set(names)) < len(names):
        return weights
    return dict(zip(names, weights.values(), strict=True))


def nearest(weights: dict[str, Tensor], names: Iterable[str] = nets.CLASSIFIERS) -> str:
    """The network whose layers resemble those of ``weights`` most, in words."""
    theirs = unwrapped(weights)
    layers = Counter(signature for _, signature in _modules(_shapes_of(theirs)))
    best = (-1.0, "")
    for name in names:
        for channels, classes in sizes(theirs, name):
            own = Counter(signature for _, signature in _modules(shapes(name, channels, classes)))
            shared = (layers & own).total()
            said = f"the nearest known network is '{name}' ({shared} of {own.total()} layers agree)"
            best = max(best, (shared / (layers | own).total(), said))
    return best[1] or "it has no convolution"


def mismatch(net: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """What keeps ``weights`` from being loaded into ``net``, in words; empty if nothing does."""
    wanted, theirs = _shapes_of(net.state_dict()), _shapes_of(weights)
    missing = [f"missing {name}" for name in wanted if name not in theirs]
    extra = [f"unexpected {name}" for name in theirs if name not in wanted]
    shared = [name for name in wanted if name in theirs]
    other = [f"{name} is {theirs[name]}, not {wanted[name]}" for name in shared if theirs[name] != wanted[name]]
    shown = (
        f"{rows[0]} and {len(rows) - 1} more" if len(rows) > 1 else rows[0] for rows in (missing, extra, other) if rows
    )
    return ", ".join(shown)


def refusal(name: str, weights: dict[str, Tensor]) -> str:
    """Why no network fits ``weights``, or the one called ``name`` does not, in words."""
    if not name:
        return f"fits no known network; {nearest(weights)}; if it is one of torchvision or timm, say SOURCE:NET@FILE"
    made_for = sizes(weights, name)
    if not made_for:
        return f"has no convolution, so it does not fit the network '{name}'"
    with preserved():
        problem = mismatch(nets.classifier(name, *made_for[0]), unwrapped(weights))
    return f"does not fit the network '{name}': {problem or 'its layers are in other blocks'}; {nearest(weights)}"


def load(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Put ``weights`` into ``net``; counters of batch norm that old files lack stay 0.

    Raises:
        SpecError: beginning with ``what``, if they do not fit.
    """
    own = net.state_dict()
    complete = {**{name: own[name] for name in own if name.endswith(".num_batches_tracked")}, **weights}
    problem = mismatch(net, complete)
    if problem:
        raise SpecError(f"{what}: {problem}")
    net.load_state_dict(complete)


def sizes(weights: Mapping[str, Tensor], name: str) -> list[tuple[int, int]]:
    """The channels and classes a state dict may be made for, likeliest first."""
    matrices = [len(value) for value in weights.values() if value.ndim == 2]
    filters = [value for value in weights.values() if value.ndim == 4]
    if not filters:
        return []
    classes = dict.fromkeys([*reversed(matrices)] or [len(filters[-1])])
    seen = {value.shape[1] for value in filters}  # a grouped convolution has 1 here too
    channels = [3] if name.startswith("torchvision:") else [each for each in (3, 1) if each in seen]
    return [(each, count) for each in channels for count in classes]


@lru_cache(maxsize=256)
def shapes(name: str, channels: int, classes: int) -> Shapes:
    """The tensors of a fresh network by name, without drawing random numbers."""
    ours = ":" not in name
    with torch.device("meta") if ours else nullcontext(), torch.random.fork_rng(devices=[], enabled=not ours):
        return _shapes_of(nets.classifier(name, channels, classes).state_dict())


def _shapes_of(weights: Mapping[str, Any]) -> Shapes:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _same(wanted: Shapes, theirs: Shapes) -> dict[str, str]:
    """Their name for each of ours, if every tensor has its own name; nothing otherwise. So do the next two."""
    return {name: name for name in wanted} if wanted == theirs else {}


def _respelt(wanted: Shapes, theirs: Shapes) -> dict[str, str]:
    their_layers = {_spelling(name): name for name in theirs}
    pairs = {name: their_layers.get(_spelling(name), "") for name in wanted}
    fits = len(wanted) == len(theirs) and all(theirs.get(pairs[name]) == wanted[name] for name in wanted)
    return pairs if fits else {}


def _in_order(wanted: Shapes, theirs: Shapes) -> dict[str, str]:
    ours, their_layers = _modules(wanted), _modules(theirs)
    if [signature for _, signature in ours] != [signature for _, signature in their_layers]:
        return {}
    paths = [path for path, _ in ours], [path for path, _ in their_layers]
    for block in _blocks(paths[0]):
        if any(block & other and not (block <= other or other <= block) for other in _blocks(paths[1])):
            return {}  # same layers, other blocks: a pre-activation network has the shapes of a plain one
    path_of = dict(zip(*paths, strict=True))
    parts = {name: name.rpartition(".") for name in wanted}
    return {name: f"{path_of[path]}.{kind}".removeprefix(".") for name, (path, _, kind) in parts.items()}


def _modules(tensors: Shapes) -> list[tuple[str, tuple[tuple[str, tuple[int, ...]], ...]]]:
    """The layers in order, each with the names and shapes of its tensors."""
    layers: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for name, shape in _uncounted(tensors).items():
        path, _, kind = name.rpartition(".")
        layers.setdefault(path, []).append((kind, shape))
    return [(path, tuple(sorted(rows))) for path, rows in layers.items()]


def _blocks(paths: list[str]) -> list[frozenset[int]]:
    """The places of layers that have a container in common, for each container."""
    members: dict[str, set[int]] = {}
    for place, path in enumerate(paths):
        parts = path.split(".")
        for depth in range(1, len(parts)):
            members.setdefault(".".join(parts[:depth]), set()).add(place)
    return [frozenset(each) for each in members.values()]


def _uncounted(tensors: Shapes) -> Shapes:
    return {name: shape for name, shape in tensors.items() if not name.endswith("num_batches_tracked")}


def _spelling(name: str) -> str:
    """A name as akamaster's, kuangliu's and chenyaofo's code would all be read."""
    name = re.sub(r"^(linear|classifier|head)\.(weight|bias)$", r"fc.\2", name)
    return name.replace(".shortcut.", ".downsample.")
