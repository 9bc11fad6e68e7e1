"""Which layers of a network can be observed: found by one pass, for a layer may be passed twice, late or never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.nets.batch_norms import keeps_statistics, maps_given
from dfkd_lab.nets.outputs import task_of_shape
from dfkd_lab.nets.wrap import Classifier, in_eval_mode, named_logits
from dfkd_lab.system.rng import preserved


@dataclass(frozen=True)
class Layers:
    """Of one network; what is not there, or not passed as it would have to be, is absent."""

    batch_norms: list[Any]
    """Those that keep statistics, in the order they are passed; one that is passed twice is there twice.

    Of a network for segmentation those that only get maps of one pixel are left out, as that behind the global average
    of DeepLab's ASPP: a batch of N images shows them N values a channel, and the statistics of so few are noise.
    """
    head: nn.Linear | None
    """Its last linear layer."""
    stages: list[nn.Module]
    """Where its feature maps are read."""


def layers_of(model: nn.Module, shape: tuple[int, ...] | None = None) -> Layers:
    """The layers of ``model`` that can be observed.

    Args:
        model: Any network, on the CPU; its modes are as before afterwards.
        shape: Of its images, [C, H, W]; without it layers are taken to be passed once each, as they are registered.
    """
    head, stages = head_of(model), stages_of(model)
    registered = [layer for layer in model.modules() if keeps_statistics(layer)]
    if shape is None:
        return Layers(registered, head, stages)
    linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    calls, is_dense = _calls(model, shape, [*registered, *linears, *stages])
    norms = [
        layer
        for layer, given, gave in calls
        if keeps_statistics(layer) and all(_is_of_batch(maps_given(layer, each)) for each in (given, (gave,)))
    ]
    if is_dense:
        larger = {layer for layer, given, _ in calls if layer in norms and not _is_of_one_pixel(layer, given)}
        norms = [layer for layer in norms if layer in larger]
    heads = [layer for layer, given, _ in calls if isinstance(layer, nn.Linear) and given and _is_of_batch(given[0])]
    maps = [layer for layer, _, gave in calls if _is_of_batch(gave) and gave.ndim == 4]
    all_once = all(sum(each is stage for each in maps) == 1 for stage in stages)
    return Layers(norms, heads[-1] if heads else None, stages if all_once else [])


def _calls(
    model: nn.Module, shape: tuple[int, ...], layers: list[nn.Module]
) -> tuple[list[tuple[nn.Module, tuple[Any, ...], Any]], bool]:
    """Which of ``layers`` two images pass, in order, with what each is given and gives; whether pixels have classes."""
    calls: list[tuple[nn.Module, tuple[Any, ...], Any]] = []
    record: Callable[..., None] = lambda layer, given, gave: calls.append((layer, given, gave))  # noqa: E731
    images = torch.linspace(0, 1, 2 * shape[0] * shape[1] * shape[2]).view(2, *shape)
    handles = [layer.register_forward_hook(record) for layer in dict.fromkeys(layers)]
    try:
        with preserved(), torch.no_grad(), in_eval_mode(model):
            output = named_logits(model(images))
    finally:
        for handle in handles:
            handle.remove()
    return calls, isinstance(output, Tensor) and task_of_shape(output, images) == "segmentation"


def _is_of_batch(value: Any) -> bool:
    """Whether this belongs to the two images: a network may fold parts of an image into the batch."""
    return isinstance(value, Tensor) and value.ndim >= 2 and len(value) == 2


def _is_of_one_pixel(layer: nn.Module, given: tuple[Any, ...]) -> bool:
    maps = maps_given(layer, given)
    return maps is not None and maps.shape[2:].numel() == 1


def head_of(model: nn.Module) -> nn.Linear | None:
    """The classifier of a network.

    Args:
        model: Any network.

    Returns:
        Its last linear layer; None if it has none.
    """
    linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return linears[-1] if linears else None


def stages_of(model: nn.Module) -> list[nn.Module]:
    """Where the feature maps of a network are read.

    Args:
        model: Any network.

    Returns:
        The children of its ``stages``, else its ``layer1`` to ``layer4``; empty if it has neither, or they are scripted
        and cannot be observed.
    """
    net = model.net if isinstance(model, Classifier) else model
    stages = getattr(net, "stages", None)
    if isinstance(stages, nn.Module):
        found: list[Any] = list(stages.children())
    else:
        found = [getattr(net, name, None) for name in ("layer1", "layer2", "layer3", "layer4")]
    return [each for each in found if isinstance(each, nn.Module) and not isinstance(each, torch.jit.ScriptModule)]
