"""The card of a bare checkpoint, which says neither its network nor how it saw images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dfkd_lab import data as data_sets
from dfkd_lab import nets
from dfkd_lab.data import NORMALIZATIONS
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file, trial, zoo
from dfkd_lab.system.rng import preserved
from dfkd_lab.teachers import checkpoints, identify, spellings
from dfkd_lab.teachers.checkpoints import Card

DEFAULT_SIDE = 32
"""Pixels across the images of a bare checkpoint whose data set is unknown."""


def identified(
    net: str, path: Path, checkpoint: checkpoints.Checkpoint, normalization: str, data: str
) -> tuple[dict[str, Tensor], Card]:
    """The weights under our names, and the card that a bare checkpoint lacks.

    Raises:
        SpecError: if no network fits, or more than one, or nothing says the normalization.
    """
    tried = (checkpoint, *checkpoint.others)
    found = ((each, identify.find(each.weights, [net] if net else nets.NETWORKS)) for each in tried)
    checkpoint, match = next(((each, match) for each, match in found if match), (checkpoint, None))
    if match is None:
        raise SpecError(f"{path}{_entries(tried)} {identify.refusal(net, checkpoint.weights)}")
    names = identify.unwrapped(checkpoint.weights)
    match = replace(match, net=spellings.chosen(match.net, net, names, match.weights, path))
    recipe = _recipe(f"{match.net} {'said' if net else 'found'}", checkpoint, match.how)
    card = _bare_card(match.net, match.channels, match.classes, normalization, data)
    return match.weights, replace(card, recipe=recipe)


def of_python_file(
    net: str, path: Path, checkpoint: checkpoints.Checkpoint, normalization: str, data: str
) -> tuple[dict[str, Tensor], Card]:
    """The weights and the card of a network of a Python file: the checkpoint's, or what fits weights and two images.

    Raises:
        SpecError: if the weights do not fit the network, or it does not take the images.
    """
    if checkpoint.card is not None:
        card = replace(checkpoint.card, net=net)
        made, weights, _ = _loaded(net, path, checkpoint.weights, card)
        _with_classes(card, made, card.classes)
        return weights, card
    refusal: SpecError | None = None
    row = data_sets.find(data) or data_sets.find(normalization)
    tried = (checkpoint, *checkpoint.others)
    for each in tried:
        sizes = [*identify.sizes(each.weights, net), *([(row.shape[0], row.classes)] if row else [])]
        for channels, classes in dict.fromkeys(sizes):
            card = _bare_card(net, channels, classes, normalization, data)
            try:
                made, weights, how = _loaded(net, path, each.weights, card)
            except SpecError as error:
                refusal = refusal or error
                continue
            try:
                card = _with_classes(card, made)
                return weights, replace(card, recipe=_recipe(f"{python_file.short(net)} said", each, how))
            except SpecError as error:
                refusal = error  # of a network that fits, and so says more
    if refusal is None:
        raise SpecError(f"{path} has no convolution that says how many channels images have; name the evaluation set")
    raise SpecError(f"{refusal}{_entries(tried)}") if len(tried) > 1 else refusal


def _entries(tried: tuple[checkpoints.Checkpoint, ...]) -> str:
    """The entries of a file that were tried, for a refusal; empty if it is the weights."""
    names = [f"'{each.found_in}'" if each.found_in else "the file itself" for each in tried]
    shown = ", ".join([*names[:4], *([f"{len(names) - 4} more"] if len(names) > 4 else [])])
    return f" (tried: {shown})" if len(names) > 1 or tried[0].found_in else ""


def _recipe(found: str, checkpoint: checkpoints.Checkpoint, how: str) -> str:
    """What was made of a bare checkpoint, in words: all that was taken from it otherwise than it lay there."""
    origin = [f"weights from '{checkpoint.found_in}'"] if checkpoint.found_in else []
    left_out = [f"without {checkpoint.left_out}, no tensors"] if checkpoint.left_out else []
    return ", ".join([f"{found} for a bare checkpoint", *origin, *([how] if how else []), *left_out])


def _loaded(net: str, path: Path, weights: dict[str, Tensor], card: Card) -> tuple[nn.Module, dict[str, Tensor], str]:
    """The network with the weights, those under its own names, and what had to be mended for that, in words."""
    with preserved():
        made = nets.classifier(net, card.shape[0], card.classes).eval()
    wanted, (kept, left_out) = identify.shapes_of(made.state_dict()), identify.without_extras(weights)
    bare = identify.unwrapped(weights)
    ways = ((weights, ""), (bare, "names without wrappers"), (kept, left_out))
    fits = (way for way in ways if not identify.mismatch(wanted, identify.shapes_of(way[0])))
    theirs, how = next(fits, (weights if wanted.keys() & weights.keys() else bare, ""))
    identify.load(made, theirs, path, python_file.short(net))
    return made, theirs, how


def _with_classes(card: Card, made: nn.Module, classes: int | None = None) -> Card:
    """``card`` with as many classes as two images get, ``classes`` or as the network has."""
    who, file = f"'{python_file.short(card.net)}'", python_file.file_of(card.net)
    with preserved(), torch.no_grad():
        task = trial.task_of_network(who, made, card.shape, file)
        logits = trial.logits(who, made, trial.probe(2, card.shape), classes, file, task)
    return replace(card, classes=logits.shape[1], task=task)


def _bare_card(net: str, channels: int, classes: int, normalization: str, data: str) -> Card:
    """What the evaluation set, the normalization and the library say of a checkpoint that says nothing."""
    row = data_sets.find(data)
    if row is not None and row.shape[0] != channels:
        row, data = None, ""  # gray digits say nothing of color
    published = ":" in net and not python_file.names_file(net)
    mean, std = _normalization(net if published else "", channels, normalization, data)
    known = row or data_sets.find(normalization)
    side = known.synthesis_shape[1] if known else zoo.input_of(net).side if published else DEFAULT_SIDE
    return Card(net, classes, (channels, side, side), mean, std, task=nets.task_of(net) or "classification")


def _normalization(net: str, channels: int, name: str, data: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    row = data_sets.find(data)
    if name == "auto" and row is not None:
        return row.normalization
    if name in NORMALIZATIONS:
        return NORMALIZATIONS[name]
    if ":" in net:
        published = zoo.input_of(net)
        return published.mean, published.std
    known = ", ".join(NORMALIZATIONS)
    like = next((each for each in NORMALIZATIONS if (row := data_sets.find(each)) and row.shape[0] == channels), "")
    cure = f", or the evaluation set it was trained for, as data = '{like}'" if like else ""
    raise SpecError(
        f"normalization = 'auto', and a bare checkpoint does not say its normalization; give one of {known}{cure}"
    )
