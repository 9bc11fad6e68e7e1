"""Teachers: load, check, describe; the digits teacher is trained here when it is not in the cache yet."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import nn

from dfkd_lab import data, nets
from dfkd_lab.measure import Accuracy, cosine
from dfkd_lab.primitives.observe import Classifier, Frozen
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import SpecError, unknown
from dfkd_lab.stream import Stream

NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "digits": ((0.3053,), (0.3312,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}


@dataclass(frozen=True)
class Card:
    """What there is to know about a checkpoint: enough to rebuild the network, and where it came from."""

    net: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: str = ""
    recipe: str = ""


@dataclass(frozen=True)
class Teacher:
    """A frozen network with its card, its file and that file's SHA-256."""

    name: str
    model: Frozen
    card: Card
    path: Path
    sha256: str

    def describe(self) -> dict[str, Any]:
        """The card as a table row."""
        norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in self.model.modules())
        return {
            "name": self.name,
            "net": self.card.net,
            "parameters": nets.parameter_count(self.model),
            "classes": self.card.classes,
            "shape": list(self.card.shape),
            "batch_norm_layers": norms,
            "mean": list(self.card.mean),
            "std": list(self.card.std),
            "data": self.card.data,
            "recipe": self.card.recipe,
            "sha256": self.sha256,
        }


BUILT_IN = ("digits",)


def load(name: str, normalization: str = "auto") -> Teacher:
    """A teacher by name ("digits"), by file ("my.safetensors" written by :func:`save`), or as "NET@FILE".

    ``normalization`` names one of ``NORMALIZATIONS``; "auto" takes the checkpoint's own.

    Raises:
        SpecError: if the name, the network, the file or what is in it is not right; nothing in a file is executed.
    """
    net, path = locate(name, normalization)
    if path is None:
        path = cached_digits_teacher()
    weights, card = read(path)
    if net:
        card = guess_card(net, weights, normalization)
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
    if net and net not in nets.CLASSIFIERS:
        raise SpecError(f"teacher = {name!r}: " + unknown(net, nets.CLASSIFIERS, "network"))
    if not net and path.suffix not in (".safetensors", ".pth", ".pt"):
        raise SpecError(unknown(name, BUILT_IN, "teacher") + ", or a checkpoint: FILE.safetensors or NET@FILE")
    if not path.is_file():
        raise SpecError(f"teacher = {name!r}: there is no file {path}")
    return net, path


def read(path: Path) -> tuple[dict[str, torch.Tensor], Card | None]:
    """The tensors of a checkpoint, and its card if it has one. Pickled code is refused, never run.

    Raises:
        SpecError: if the file is no checkpoint.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {}).get("dfkd_lab", "null"))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return weights, _card(facts, path)
        return _state_dict(torch.load(path, map_location="cpu", weights_only=True), path), None
    except pickle.UnpicklingError:
        raise SpecError(
            f"{path} holds more than tensors (or is damaged); only weights are loaded, never code"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        if isinstance(error, SpecError):
            raise
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise SpecError(f"{path} is not a readable checkpoint ({reason})") from None


def save(model: Classifier, card: Card, path: Path) -> None:
    """Write ``model`` with its card, atomically and without pickle; the same weights give the same bytes."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.net.state_dict().items()}
    temporary = path.with_suffix(".tmp")
    try:  # not save_file, whose errors do not say what the system said
        temporary.write_bytes(serialized(weights, metadata={"dfkd_lab": json.dumps(asdict(card), sort_keys=True)}))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def guess_card(net: str, weights: dict[str, torch.Tensor], normalization: str) -> Card:
    """The card of a bare state dict: classes from its last bias, channels from its first convolution.

    Raises:
        SpecError: if the normalization was not said.
    """
    if normalization == "auto":
        raise SpecError(f"a bare checkpoint does not say its normalization; give one of {', '.join(NORMALIZATIONS)}")
    matrices = [value for value in weights.values() if value.ndim == 2]
    filters = [value for value in weights.values() if value.ndim == 4]
    if not matrices or not filters:
        raise SpecError(f"the checkpoint has no convolution or no linear layer, so it is no '{net}'")
    channels = filters[0].shape[1]
    mean, std = NORMALIZATIONS[normalization]
    side = 16 if normalization == "digits" else 32
    return Card(net, len(matrices[-1]), (channels, side, side), mean, std)


def check(teacher: Teacher, split: data.Split | None) -> float | None:
    """The teacher's accuracy on ``split``, measured now; None without data.

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
    measured = Accuracy(split.images, split.labels)
    accuracy = measured(teacher.model)
    better = {name: measured(_renormalized(teacher.model, name, shape[0])) for name in NORMALIZATIONS}
    best = max(better, key=lambda name: better[name])
    if better[best] > accuracy + 0.1:
        raise SpecError(
            f"the teacher's normalization looks wrong: accuracy {accuracy:.3f} with mean {teacher.card.mean} and std "
            f"{teacher.card.std}, {better[best]:.3f} with '{best}'; say --normalization {best}"
        )
    return accuracy


def cache() -> Path:
    """Where trained teachers are kept: ``$DFKD_CACHE``, or the user's cache folder."""
    home = os.environ.get("DFKD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "dfkd_lab"
    return Path(home).expanduser()


def cached_digits_teacher() -> Path:
    """The digits teacher's file; trained first (about 10 s on two cores) if the cache has none."""
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


def _open(name: str, path: Path, weights: dict[str, torch.Tensor], card: Card | None, normalization: str) -> Teacher:
    if card is None:
        raise SpecError(f"{path} does not say which network it is; write it as NET@FILE, NET one of "
                        f"{', '.join(nets.CLASSIFIERS)}")  # fmt: skip
    mean, std = (card.mean, card.std) if normalization == "auto" else NORMALIZATIONS[normalization]
    if len(mean) not in (1, card.shape[0]):
        raise SpecError(f"{path}: a normalization of {len(mean)} channels does not fit images of {card.shape[0]}")
    net = nets.classifier(card.net, card.shape[0], card.classes)
    problem = _mismatch(net, weights)
    if problem:
        raise SpecError(f"{path} does not fit the network '{card.net}': {problem}")
    net.load_state_dict(weights)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Teacher(name, Frozen(net, mean, std), Card(**{**asdict(card), "mean": mean, "std": std}), path, digest)


def _mismatch(net: nn.Module, weights: dict[str, torch.Tensor]) -> str:
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    missing = [f"missing {name}" for name in wanted if name not in found]
    extra = [f"unexpected {name}" for name in found if name not in wanted]
    shared = [name for name in wanted if name in found]
    other = [f"{name} is {found[name]}, not {wanted[name]}" for name in shared if found[name] != wanted[name]]
    return ", ".join(missing[:1] + extra[:1] + other[:1])


def _card(facts: Any, path: Path) -> Card | None:
    if facts is None:
        return None
    try:
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
        }
        card = Card(**tuples)
        numbers = [card.classes, *card.shape, *card.mean, *card.std]
        if not isinstance(card.net, str) or not all(isinstance(number, (int, float)) for number in numbers):
            raise TypeError
        if min(card.classes, *card.shape, *card.std) <= 0 or len(card.shape) != 3 or len(card.mean) != len(card.std):
            raise TypeError
    except (TypeError, AttributeError):
        raise SpecError(f"{path} has a card this version cannot read") from None
    return card


def _state_dict(found: Any, path: Path) -> dict[str, torch.Tensor]:
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise SpecError(f"{path} holds no state dict of tensors")
    return {name.removeprefix("module."): value for name, value in found.items()}


def _renormalized(model: Frozen, name: str, channels: int) -> Frozen:
    mean, std = NORMALIZATIONS[name]
    if len(mean) not in (1, channels):
        return model
    return Frozen(model.net, mean, std)
