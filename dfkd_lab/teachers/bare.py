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
from dfkd_lab.nets import python_file, zoo
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
    match = identify.find(checkpoint.weights, [net] if net else nets.CLASSIFIERS)
    if match is None:
        raise SpecError(f"{path} {identify.refusal(net, checkpoint.weights)}")
    names = identify.unwrapped(checkpoint.weights)
    match = replace(match, net=spellings.chosen(match.net, net, names, match.weights, path))
    origin = [f"weights from '{checkpoint.found_in}'"] if checkpoint.found_in else []
    origin += [match.how] if match.how else []
    recipe = f"{match.net} {'said' if net else 'found'} for a bare checkpoint" + "".join(f", {each}" for each in origin)
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
        made, weights = _loaded(net, path, checkpoint.weights, card)
        _with_classes(card, made, card.classes)
        return weights, card
    refusal: SpecError | None = None
    row = data_sets.find(data) or data_sets.find(normalization)
    sizes = [*identify.sizes(checkpoint.weights, net), *([(row.shape[0], row.classes)] if row else [])]
    if not sizes:
        raise SpecError(f"{path} has no convolution that says how many channels images have; name the evaluation set")
    for channels, classes in dict.fromkeys(sizes):
        card = _bare_card(net, channels, classes, normalization, data)
        try:
            made, weights = _loaded(net, path, checkpoint.weights, card)
        except SpecError as error:
            refusal = refusal or error
            continue
        try:
            return weights, _with_classes(card, made)
        except SpecError as error:
            refusal = error  # of a network that fits, and so says more
    assert refusal is not None
    raise refusal


def _loaded(net: str, path: Path, weights: dict[str, Tensor], card: Card) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network with the weights, and those under its own names: without wrappers, unless it has some of theirs."""
    with preserved():
        made = nets.classifier(net, card.shape[0], card.classes).eval()
    if not made.state_dict().keys() & weights.keys():
        weights = identify.unwrapped(weights)
    identify.load(made, weights, f"{path} does not fit the network '{python_file.short(net)}'")
    return made, weights


def _with_classes(card: Card, made: nn.Module, classes: int | None = None) -> Card:
    """``card`` with as many classes as two images get, ``classes`` or as the network has; and how it was found."""
    with preserved(), torch.no_grad():
        logits = python_file.logits(card.net, made, torch.zeros(2, *card.shape), classes)
    return replace(card, classes=logits.shape[1], recipe=f"{python_file.short(card.net)} said for a bare checkpoint")


def _bare_card(net: str, channels: int, classes: int, normalization: str, data: str) -> Card:
    """What the evaluation set, the normalization and the library say of a checkpoint that says nothing."""
    row = data_sets.find(data)
    if row is not None and row.shape[0] != channels:
        row, data = None, ""  # gray digits say nothing of color
    published = ":" in net and not python_file.names_file(net)
    mean, std = _normalization(net if published else "", normalization, data)
    known = row or data_sets.find(normalization)
    side = known.shape[1] if known else zoo.input_of(net).side if published else DEFAULT_SIDE
    return Card(net, classes, (channels, side, side), mean, std)


def _normalization(net: str, name: str, data: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    row = data_sets.find(data)
    if name == "auto" and row is not None:
        return row.normalization
    if name in NORMALIZATIONS:
        return NORMALIZATIONS[name]
    if ":" in net:
        published = zoo.input_of(net)
        return published.mean, published.std
    raise SpecError(f"a bare checkpoint does not say its normalization; give one of {', '.join(NORMALIZATIONS)}")
