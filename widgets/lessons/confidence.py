"""Lesson 20, below its figure: why a teacher is sure of noise, by its answers to images that are no digits."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from IPython.display import display
from torch import Tensor, nn

from dfkd_lab import data, teachers
from dfkd_lab.engine import metrics
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.observer import Observer

TEMPERATURE = 4.0
"""As in the digits presets of the methods that distil with one."""


@dataclass(frozen=True)
class Sureness:
    """What a teacher says of some images: means over them, and the class that it sees most often, with its share."""

    confidence: float
    """Largest probability."""
    softened: float
    """The same at :data:`TEMPERATURE`."""
    own_statistics: float
    """The same at temperature 1 where each batch norm takes mean and variance of these images, and none it has kept."""
    logit: float
    """The largest."""
    gap: float
    """Distance of batch statistics from those that are kept, see ``losses.BatchNormGap``."""
    class_: int
    share: float


def show(seed: int = 0) -> None:
    """A table of the built-in digits teacher, a row for each kind of images."""
    model = teachers.load("digits").model
    split = data.evaluation_set("digits")
    assert split is not None
    text = table({name: measure(model, images) for name, images in kinds(model, split.images, seed).items()})
    display({"text/markdown": text, "text/plain": text}, raw=True)


def kinds(model: Frozen, digits: Tensor, seed: int) -> dict[str, Tensor]:
    """Images [N, C, H, W] by what they are, as many of each as there are ``digits`` [N, C, H, W] in [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    units = torch.randn(digits.shape, generator=random)
    order = torch.rand(digits.flatten(1).shape, generator=random).argsort(1)
    noise = (units * model.std + model.mean).clamp(0, 1)
    return {
        "held-out digits": digits,
        "noise, as the inversion begins": noise,
        "digits with their pixels shuffled": digits.flatten(1).gather(1, order).view_as(digits),
        "noise with a quarter of the contrast": units / 4 * model.std + model.mean,
        "noise with four times the contrast, not clipped": units * 4 * model.std + model.mean,
        "a quarter digit, blended with noise": 0.25 * digits + 0.75 * noise,
        "half digit, half noise": 0.5 * digits + 0.5 * noise,
        "three quarters digit, blended with noise": 0.75 * digits + 0.25 * noise,
    }


@torch.no_grad()
def measure(model: Frozen, images: Tensor) -> Sureness:
    """Ask ``model`` about ``images`` [N, C, H, W]."""
    logits = model(images)
    counts = logits.argmax(1).bincount()
    return Sureness(
        confidence=_confidence(logits),
        softened=_confidence(logits / TEMPERATURE),
        own_statistics=_confidence(normalizing_by_the_batch(model)(images)),
        logit=float(logits.amax(1).mean()),
        gap=metrics.health(Observer(model, model), images)[0]["bn_gap"],
        class_=int(counts.argmax()),
        share=float(counts.max() / len(images)),
    )


def normalizing_by_the_batch(model: Frozen) -> Frozen:
    """A copy whose batch norms take the statistics of the batch that they see, as in training, and keep none of it."""
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.training, layer.momentum = True, 0.0
    return copied


def table(found: Mapping[str, Sureness]) -> str:
    """Rows of Markdown, a kind of images each."""
    head = ["images", "confidence", f"at temperature {TEMPERATURE:g}", "with batch norms by these images",
            "largest logit", "batch-norm gap", "class seen most"]  # fmt: skip
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, each in found.items():
        shares = [f"{value:.3f}" for value in (each.confidence, each.softened, each.own_statistics)]
        rows.append([name, *shares, f"{each.logit:.1f}", f"{each.gap:.1f}", f"{each.class_} ({each.share:.0%})"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _confidence(logits: Tensor) -> float:
    return float(logits.softmax(1).amax(1).mean())
