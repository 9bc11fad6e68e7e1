"""Teachers: load, check, describe; the digits teacher is trained here when it is not in the cache yet."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab import architecture, checkpoints, data, nets
from dfkd_lab.calibration import Calibration, logits_of
from dfkd_lab.checkpoints import Card as Card
from dfkd_lab.checkpoints import save as save
from dfkd_lab.environment import cache as cache
from dfkd_lab.measure import Accuracy, cosine
from dfkd_lab.nets import zoo
from dfkd_lab.primitives.observe import Classifier, Frozen
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import SpecError, unknown
from dfkd_lab.stream import Stream

NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "digits": ((0.3053,), (0.3312,)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
SIDES = {"digits": 16, "mnist": 28, "fashion_mnist": 28, "cifar10": 32, "cifar100": 32, "svhn": 32}
"""Pixels across the images of a data set, for a checkpoint that does not say what it takes."""


@dataclass(frozen=True)
class Teacher:
    """A frozen network with its card, its file and that file's SHA-256."""

    name: str
    model: Frozen
    card: Card
    path: Path
    sha256: str

    @property
    def norms(self) -> list[nn.BatchNorm2d]:
        """The batch-norm layers."""
        return [layer for layer in self.model.modules() if isinstance(layer, nn.BatchNorm2d)]

    def describe(self, calibration: Calibration | None = None) -> dict[str, Any]:
        """The card as a table row, with what was measured (see :func:`examine`) if it was."""
        return {
            "name": self.name,
            "net": self.card.net,
            "parameters": nets.parameter_count(self.model),
            "classes": self.card.classes,
            "shape": list(self.card.shape),
            "batch_norm_layers": len(self.norms),
            "running_mean": _range([layer.running_mean for layer in self.norms]),
            "running_variance": _range([layer.running_var for layer in self.norms]),
            "mean": list(self.card.mean),
            "std": list(self.card.std),
            "data": self.card.data,
            "recipe": self.card.recipe,
            "sha256": self.sha256,
            **(calibration.row() if calibration else {}),
        }


BUILT_IN = ("digits",)


def load(name: str, normalization: str = "auto", data: str = "") -> Teacher:
    """A teacher by name ("digits"), by file, or as "NET@FILE" with NET as in :func:`dfkd_lab.nets.classifier`.

    Without a card (see :func:`save`) the network of a file is found by its tensors. ``normalization`` names one of
    ``NORMALIZATIONS``; "auto" takes the card's, else that of the evaluation set ``data``, else that of the weights
    which torchvision or timm publish for NET.

    Raises:
        SpecError: if the name, the network, the file or what is in it is not right; nothing in a file is executed.
    """
    net, path = locate(name, normalization)
    if path is None:
        path = cached_digits_teacher()
    found = checkpoints.read(path)
    weights, card = found.weights, found.card
    if net or card is None:
        weights, card = _identified(net, path, found, normalization, data)
    return _open(name, path, weights, card, normalization)


def locate(name: str, normalization: str = "auto") -> tuple[str, Path | None]:
    """The network that ``name`` names ("" if the file says it) and its file (None for a built-in teacher).

    Raises:
        SpecError: if there is no such teacher, network, file or normalization.
    """
    if normalization not in ("auto", *NORMALIZATIONS):
        raise SpecError(unknown(normalization, ("auto", *NORMALIZATIONS), "normalization"))
    if name in BUILT_IN:
        return "", None
    net, _, file = name.rpartition("@")
    path = Path(file).expanduser()
    if net:
        try:
            nets.check(net)
        except SpecError as error:
            raise SpecError(f"teacher = {name!r}: {error}") from None
    elif path.suffix not in checkpoints.SUFFIXES:
        allowed = f"a checkpoint: FILE ({', '.join(checkpoints.SUFFIXES)}) or NET@FILE"
        raise SpecError(f"{unknown(name, BUILT_IN, 'teacher')}, or {allowed}")
    if not path.is_file():
        raise SpecError(f"teacher = {name!r}: there is no file {path}")
    return net, path


def examine(teacher: Teacher, split: data.Split | None) -> Calibration | None:
    """How right and how sure the teacher is on ``split``, measured now; None without data.

    Raises:
        SpecError: if classes or image shape do not fit, or another known normalization suits it far better.
    """
    if split is None:
        return None
    classes, shape = int(split.labels.max()) + 1, tuple(split.images.shape[1:])
    if classes != teacher.card.classes:
        raise SpecError(f"the teacher knows {teacher.card.classes} classes, the evaluation data has {classes}")
    if shape != tuple(teacher.card.shape):
        raise SpecError(f"the teacher takes images {list(teacher.card.shape)}, the evaluation data has {list(shape)}")
    _refuse_other_normalization(teacher, split)
    return Calibration.of(logits_of(teacher.model, split.images), split.labels)


def adopt(
    name: str, model: nn.Module, shape: tuple[int, int, int], classes: int, normalization: str, folder: Path | str = "."
) -> str:
    """Make any module, trained elsewhere, a teacher; gives what ``teacher`` of a run is then.

    ``model`` takes images ``shape`` = [C, H, W] as ``normalization``, one of ``NORMALIZATIONS``, makes them, and gives
    logits [N, ``classes``]. Its weights are written to ``folder``/``name``.safetensors. A process that did not adopt it
    does not know the network, so such a run is begun and resumed where it was adopted.

    Raises:
        SpecError: if the name is taken, the normalization unknown, or the model does not take such images.
    """
    if normalization not in NORMALIZATIONS:
        raise SpecError(unknown(normalization, NORMALIZATIONS, "normalization"))
    mean, std = NORMALIZATIONS[normalization]
    mine = Classifier(copy.deepcopy(model).eval(), mean, std)
    try:
        with torch.no_grad():
            found = tuple(mine(torch.zeros(2, *shape)).shape)
    except RuntimeError as error:
        raise SpecError(f"teacher '{name}' does not take images {list(shape)}: {str(error).splitlines()[0]}") from None
    if found != (2, classes):
        raise SpecError(f"teacher '{name}' gives {list(found)} for two images; allowed: logits [2, {classes}]")
    nets.register(name, lambda channels, classes: copy.deepcopy(mine.net))
    path = Path(folder) / f"{name}.safetensors"
    save(mine, Card(name, classes, shape, mean, std, recipe="adopted in a notebook or script"), path)
    return str(path)


def cached_digits_teacher() -> Path:
    """The digits teacher's file; trained first (about 10 s on two cores) if the cache has none.

    Processes that train it at the same time write the same bytes, each to a temporary file of its own.
    """
    path = cache() / "digits-convnet_32-v1.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        model, card = train_digits_teacher()
        save(model, card, path)
    return path


def train_digits_teacher(epochs: int = 20, seed: int = 0) -> tuple[Classifier, Card]:
    """Train convnet_32 on the digits' training split: SGD 0.1, momentum 0.9, cosine, batch 128, crops."""
    train, _ = data.digits()
    mean, std = NORMALIZATIONS["digits"]
    view, batch = CropFlip(1, flip=False), 128
    with Stream(seed, torch.device("cpu")):
        model = Classifier(nets.classifier("convnet_32", 1, 10), mean, std)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
        steps = epochs * (len(train.labels) // batch)
        for step in range(steps):
            rows = torch.randint(0, len(train.labels), (batch,))
            optimizer.param_groups[0]["lr"] = cosine(step / steps, 0.1, 0)
            optimizer.zero_grad()
            F.cross_entropy(model(view(train.images[rows])), train.labels[rows]).backward()
            optimizer.step()
    recipe = f"SGD 0.1 cosine, momentum 0.9, weight decay 5e-4, batch 128, {steps} steps, crop 1, seed {seed}"
    return model.eval(), Card("convnet_32", 10, (1, 16, 16), mean, std, "digits", recipe)


def student_of(card: Card, net: str) -> Classifier:
    """A fresh student for the teacher's images and classes, normalized like the teacher."""
    return Classifier(nets.classifier(net, card.shape[0], card.classes), card.mean, card.std)


def _identified(
    net: str, path: Path, found: checkpoints.Checkpoint, normalization: str, data: str
) -> tuple[dict[str, Tensor], Card]:
    """The weights under our names, and the card that a bare checkpoint lacks."""
    match = architecture.find(found.weights, [net] if net else nets.CLASSIFIERS)
    if match is None:
        raise SpecError(f"{path} {architecture.refusal(net, found.weights)}")
    data = data if len(NORMALIZATIONS.get(data, ("",))[0]) == match.channels else ""  # gray digits say nothing of color
    mean, std = _normalization(match.net, normalization, data)
    known = data if data in SIDES else normalization
    side = SIDES.get(known) or (zoo.input_of(match.net).side if ":" in match.net else 32)
    origin = [f"weights from '{found.found_in}'"] if found.found_in else []
    origin += [match.how] if match.how else []
    recipe = f"{match.net} {'said' if net else 'found'} for a bare checkpoint" + "".join(f", {each}" for each in origin)
    return match.weights, Card(match.net, match.classes, (match.channels, side, side), mean, std, recipe=recipe)


def _normalization(net: str, name: str, data: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    name = data if name == "auto" and data in SIDES else name
    if name in NORMALIZATIONS:
        return NORMALIZATIONS[name]
    if ":" in net:
        published = zoo.input_of(net)
        return published.mean, published.std
    raise SpecError(f"a bare checkpoint does not say its normalization; give one of {', '.join(NORMALIZATIONS)}")


def _open(name: str, path: Path, weights: dict[str, Tensor], card: Card, normalization: str) -> Teacher:
    mean, std = (card.mean, card.std) if normalization == "auto" else NORMALIZATIONS[normalization]
    if len(mean) not in (1, card.shape[0]):
        raise SpecError(f"{path}: a normalization of {len(mean)} channels does not fit images of {card.shape[0]}")
    net = nets.classifier(card.net, card.shape[0], card.classes)
    architecture.load(net, weights, f"{path} does not fit the network '{card.net}'")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Teacher(name, Frozen(net, mean, std), replace(card, mean=mean, std=std), path, digest)


def _refuse_other_normalization(teacher: Teacher, split: data.Split) -> None:
    """Compare with the other known ones on some 500 images, on which a difference of 0.1 is no accident."""
    every = max(1, len(split.labels) // 500)
    measured = Accuracy(split.images[::every], split.labels[::every])
    channels, side, _ = teacher.card.shape
    fitting = {
        name: each
        for name, each in NORMALIZATIONS.items()
        if name in ("half", "none") or (len(each[0]) == channels and SIDES.get(name, side) == side)
    }
    accuracy = measured(teacher.model)
    better = {name: measured(Frozen(teacher.model.net, *each)) for name, each in fitting.items()}
    best = max(better, key=lambda name: better[name])
    if better[best] > accuracy + 0.1:
        raise SpecError(
            f"the teacher's normalization looks wrong: accuracy {accuracy:.3f} with mean {teacher.card.mean} and std "
            f"{teacher.card.std}, {better[best]:.3f} with '{best}'; say --normalization {best}"
        )


def _range(tensors: list[Tensor | None]) -> list[float]:
    """Smallest and largest value; nothing of nothing."""
    values = [value for value in tensors if value is not None]
    return [round(float(each), 4) for each in torch.cat(values).aminmax()] if values else []
