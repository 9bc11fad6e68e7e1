"""Which network a state dict belongs to, and which of its tensors goes where."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import nlargest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.teachers.checkpoints import MOST_CLASSES
from dfkd_lab.teachers.extras import find_extras

PREFIXES = ("model.", "net.", "network.", "encoder.", "backbone.")
"""What wrapping modules put before every name."""
INNER = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What DataParallel, torch.compile and FSDP put into a name, wherever the layer is that they wrap."""
MOST_COUNTS = 12
"""Of rows of a matrix that may be the classes; a transformer has some five."""
COUNTER = "num_batches_tracked"
"""Of batch norm; files from before it counted lack it."""
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What weights are stored as."""

UNSHUFFLED = 4
"""Channels that a U-Net of ours makes of one before its first convolution."""
LIKELY = (3, 10)
"""Channels and classes by which networks are compared before a file's own numbers are tried."""
MOST_NEAR = 4
"""Networks that are compared by a file's own numbers."""

Shapes = Mapping[str, tuple[int, ...]]
Signature = tuple[tuple[str, tuple[int, ...]], ...]
"""The names and shapes of a layer's tensors."""


@dataclass(frozen=True)
class Match:
    """A network that fits a state dict, and the weights under that network's own names."""

    net: str
    channels: int
    classes: int
    weights: dict[str, Tensor]
    how: str
    """What had to be mended, in words; empty if every name was right."""


def find(weights: dict[str, Tensor], names: Iterable[str] = nets.NETWORKS) -> Match | None:
    """The first network among ``names`` whose tensors are all there, with nothing left over; None if there is none.

    Names are tried as they are, then without wrappers, then in the spelling of other code, and at last layers are
    paired in the order of the file, where shapes agree one by one and no two blocks overlap in part. Then the same
    without what belongs to no layer (:func:`without_extras`).
    """
    names = list(names)
    if found := _find(weights, names):
        return found
    kept, left_out = without_extras(weights)
    if not left_out or (found := _find(kept, names)) is None:
        return None
    return replace(found, how=", ".join(filter(None, [found.how, left_out])))


def _find(weights: dict[str, Tensor], names: list[str]) -> Match | None:
    if not any(sizes(weights, name) for name in names):
        return None  # before any network is made
    bare = unwrapped(weights)
    attempts = (
        (weights, _same, ""),
        (bare, _same, "names without wrappers"),
        (bare, _respelt, "names respelt"),
        (bare, _in_order, "layers matched in order"),
    )
    for theirs, pair, how in attempts:
        their_layers = _uncounted(shapes_of(theirs))
        for name in names:
            if len(_uncounted(shapes(name, *LIKELY))) != len(their_layers):
                continue  # with any number of classes, so that few networks have to be made
            for channels, classes in sizes(theirs, name):
                if pairs := pair(_uncounted(shapes(name, channels, classes)), their_layers):
                    renamed = {mine: theirs[other] for mine, other in pairs.items()}
                    return Match(name, channels, classes, renamed, how)
    return None


def unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the names of wrappers, where no two tensors then have the same name."""
    inner = re.compile(rf"(^|\.)(?:(?:{'|'.join(INNER)})\.)+")
    outer = re.compile(f"^(?:{'|'.join(map(re.escape, PREFIXES))})+")
    names = [outer.sub("", inner.sub(r"\1", name)) for name in weights]
    if len(set(names)) < len(names):
        return weights
    return dict(zip(names, weights.values(), strict=True))


def without_extras(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The weights without wrappers and without what belongs to no layer, and a word about that, empty for none."""
    bare = unwrapped(weights)
    dropped = find_extras(bare)
    if not dropped:
        return bare, ""
    more = f" and {len(dropped) - 3} more" if len(dropped) > 3 else ""
    kept = {name: value for name, value in bare.items() if name not in set(dropped)}
    return kept, f"without {' and '.join(dropped[:3])}{more}, of no layer"


def nearest(weights: dict[str, Tensor], names: Iterable[str] = nets.NETWORKS) -> str:
    """The network whose layers resemble those of ``weights`` most, in words."""
    theirs = unwrapped(weights)
    layers = Counter(signature for _, signature in _modules(shapes_of(theirs)))
    made_for = {name: counts[0] for name in names if (counts := sizes(theirs, name))}
    if not made_for:
        return "it has no convolution"
    likeliest = nlargest(MOST_NEAR, made_for, key=lambda name: _resemblance(layers, shapes(name, *LIKELY))[0])
    ratio, name = max((_resemblance(layers, shapes(name, *made_for[name])), name) for name in likeliest)
    _, shared, total = ratio
    return f"the nearest known network is '{name}' ({shared} of {total} layers agree)"


def _resemblance(layers: Counter[Signature], wanted: Shapes) -> tuple[float, int, int]:
    """The share of layers in common with a network, their number, and that of the network's layers."""
    own = Counter(signature for _, signature in _modules(wanted))
    shared = sum(min(count, layers[signature]) for signature, count in own.items())
    return shared / (layers.total() + own.total() - shared), shared, own.total()


def mismatch(wanted: Shapes, theirs: Shapes) -> str:
    """What keeps tensors from being loaded into a network that wants others, in words; empty if nothing does."""
    theirs = {**{name: wanted[name] for name in wanted if name.endswith(COUNTER)}, **theirs}
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
    problem = mismatch(shapes(name, *made_for[0]), shapes_of(unwrapped(weights)))
    return f"does not fit the network '{name}': {problem or 'its layers are in other blocks'}; {nearest(weights)}"


def load(net: nn.Module, weights: Mapping[str, Tensor], path: Path | str, name: str = "") -> None:
    """Put ``weights`` into ``net``; counters of batch norm that old files lack stay 0.

    Args:
        net: A fresh network.
        weights: Under its own names.
        path: Of their file, for messages.
        name: Of the network, likewise.

    Raises:
        SpecError: if they do not fit, or cannot be the weights of a network that works.
    """
    own = net.state_dict()
    check_shapes(shapes_of(own), weights, path, name)
    for key, value in weights.items():
        if problem := _unusable(key, value, own[key]):
            raise SpecError(f"{path}: {problem}")
    net.load_state_dict({**own, **weights})


def check_shapes(wanted: Shapes, weights: Mapping[str, Tensor], path: Path | str, name: str) -> None:
    """Refuse weights whose names or shapes are not those of the network called ``name``.

    Raises:
        SpecError: naming what does not fit.
    """
    if problem := mismatch(wanted, shapes_of(weights)):
        raise SpecError(f"{path} does not fit the network '{name}': {problem}")


def _unusable(name: str, value: Tensor, own: Tensor) -> str:
    """Why a tensor cannot take the place of the network's ``own``, in words; empty if it can."""
    if not own.is_floating_point():
        return f"'{name}' holds {_name(value.dtype)} numbers; allowed: whole ones" if value.is_complex() else ""
    if value.dtype not in NUMBERS:
        return f"'{name}' holds {_name(value.dtype)} numbers; allowed: {', '.join(map(_name, NUMBERS))}"
    value = value.to(own.dtype)
    if not value.numel():
        return f"'{name}' is empty"
    finite = int(value.isfinite().sum())
    if finite < value.numel() and bool(own.isfinite().all()):  # a mask of a fresh network may be infinite
        wrong = f"{value.numel() - finite} of {value.numel()} values of '{name}' are NaN or infinite"
        return f"{wrong}, so the teacher's training had diverged; take weights from before that, or another teacher"
    if name.endswith("running_var") and float(value.min()) < 0:
        return f"'{name}' has a variance of {float(value.min()):g}; allowed: 0 or more, so take an undamaged file"
    return ""


def sizes(weights: Mapping[str, Tensor], name: str) -> list[tuple[int, int]]:
    """The channels and classes a state dict may be made for, likeliest first."""
    matrices = [len(value) for value in weights.values() if value.ndim == 2 and 0 < len(value) <= MOST_CLASSES]
    filters = [value for value in weights.values() if value.ndim == 4]
    if not filters:
        return []
    heads = [len(value) for value in filters if value.shape[2:] == (1, 1) and len(value) <= MOST_CLASSES]
    classes = [*dict.fromkeys([*reversed(matrices)] or [len(filters[-1]), *reversed(heads)])][:MOST_COUNTS]
    seen = {value.shape[1] for value in filters}  # a grouped convolution has 1 here too
    folded = UNSHUFFLED if name.startswith("unet_") else 1
    channels = [3] if name.startswith("torchvision:") else [each for each in (3, 1) if folded * each in seen]
    return [(each, count) for each in channels for count in classes]


def shapes(name: str, channels: int, classes: int) -> Shapes:
    """The tensors of a fresh network by name; no memory is taken for them, and no random number."""
    return _shapes(name, nets.maker(name), channels, classes)


@lru_cache(maxsize=1024)
def _shapes(name: str, maker: object, channels: int, classes: int) -> Shapes:
    """Kept for as long as ``maker`` makes the network of that name."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return shapes_of(nets.classifier(name, channels, classes).state_dict())
        except NotImplementedError:  # a few networks of torchvision compute their sizes by tensors
            return shapes_of(nets.classifier(name, channels, classes).state_dict())


def shapes_of(weights: Mapping[str, Any]) -> Shapes:
    """The shape of each tensor by its name."""
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


def _modules(tensors: Shapes) -> list[tuple[str, Signature]]:
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
    return {name: shape for name, shape in tensors.items() if not name.endswith(COUNTER)}


def _spelling(name: str) -> str:
    """A name as akamaster's, kuangliu's and chenyaofo's code would all be read."""
    name = re.sub(r"^(linear|classifier|head)\.(weight|bias)$", r"fc.\2", name)
    return name.replace(".shortcut.", ".downsample.")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
