"""Teachers: found by name or file, identified, and loaded; any module can be adopted as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab import data as data_sets
from dfkd_lab import nets
from dfkd_lab.data import NORMALIZATIONS
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file, trial
from dfkd_lab.nets.batch_norms import keeps_statistics, running_statistics
from dfkd_lab.nets.wrap import Classifier, Frozen, copied, uncompiled, unwrapped
from dfkd_lab.spec import check_new, unknown
from dfkd_lab.system.faults import article, reason
from dfkd_lab.system.files import no_file, sha256_of
from dfkd_lab.system.rng import preserved
from dfkd_lab.teachers import bare, checkpoints, class_order, identify
from dfkd_lab.teachers.built_in import BUILT_IN, train_built_in
from dfkd_lab.teachers.calibration import Calibration
from dfkd_lab.teachers.checkpoints import Card, save
from dfkd_lab.teachers.dense import DenseMeasurement
from dfkd_lab.teachers.typed_names import typed


@dataclass(frozen=True)
class Teacher:
    """A frozen network with its card, its file and that file's SHA-256; both are empty before it is trained."""

    name: str
    model: Frozen
    card: Card
    path: Path
    sha256: str

    @property
    def norms(self) -> list[Any]:
        """The batch norms that keep statistics of what it was trained on, of whatever class."""
        return [layer for layer in self.model.modules() if keeps_statistics(layer)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of its outputs; their numbers where nobody has named them."""
        return class_order.shown_names(self.card)

    @property
    def data_at_hand(self) -> str:
        """The data set that the card names, if it is published and here; else "none".

        Only a person's word has something downloaded, or a folder read.
        """
        row = data_sets.find(self.card.data)
        return self.card.data if row is not None and row.is_here else "none"

    def describe(self, calibration: Calibration | DenseMeasurement | None = None) -> dict[str, Any]:
        """The card as a table row, with what was measured if it was."""
        means, variances = zip(*map(running_statistics, self.norms), strict=True) if self.norms else ((), ())
        return {
            "name": _without_folders(self.name),
            "net": python_file.short(self.card.net),
            "parameters": nets.parameter_count(self.model),
            "task": self.card.task,
            "classes": self.card.classes,
            "shape": list(self.card.shape),
            "batch_norm_layers": len(self.norms),
            "running_mean": _range(means),
            "running_variance": _range(variances),
            "mean": list(self.card.mean),
            "std": list(self.card.std),
            "data": self.card.data,
            "recipe": self.card.recipe,
            "sha256": self.sha256,
            **(calibration.row() if calibration else {}),
        }


def load(name: str | Path, normalization: str = "auto", data: str = "") -> Teacher:
    """A teacher by name ("digits"), by file, or as "NET@FILE"; a built-in one is trained first if the cache has none.

    Without a card (see :func:`save`) the network of a file is found by its tensors.

    Args:
        name: NET is a name as in :func:`dfkd_lab.nets.classifier`; the Python file of "FILE.py:NAME" is executed.
        normalization: One of ``NORMALIZATIONS``; "auto" takes the card's, else that of the evaluation set ``data``,
            else that of the weights which torchvision or timm publish for NET.
        data: The evaluation set.

    Raises:
        SpecError: if the name, the network, the file or what is in it is not right; nothing in a checkpoint is
            executed.
    """
    return trained(find(typed(str(name)), normalization, data))


def find(name: str, normalization: str = "auto", data: str = "", *, is_read: bool = True) -> Teacher:
    """As :func:`load`, but a built-in teacher that is not in the cache has no weights yet, and no SHA-256.

    Args:
        name: As for :func:`load`.
        normalization: As for :func:`load`.
        data: The evaluation set.
        is_read: Whether it will be read, so that it must be here; what it says of a teacher is known without its files.

    Raises:
        SpecError: as :func:`load`.
    """
    if data and is_read:
        data_sets.check(data)
    net, path = locate(name, normalization)
    if path is None:
        path = BUILT_IN[name].path
        if not path.exists():
            return _open(name, path, None, BUILT_IN[name].card, normalization)
    return of_file(path, net, name, normalization, data)


def of_file(path: Path, net: str = "", name: str = "", normalization: str = "auto", data: str = "") -> Teacher:
    """The teacher in a file, whatever its path looks like; ``net`` is NET of :func:`load`, and no code is executed.

    Raises:
        SpecError: as :func:`load`.
    """
    checkpoint = checkpoints.read(path)
    weights, card_ = checkpoint.weights, checkpoint.card
    if python_file.names_file(net):
        weights, card_ = bare.of_python_file(net, path, checkpoint, normalization, data)
    elif card_ is not None and not net and python_file.names_file(card_.net):
        raise SpecError(
            f"{path} is of the network '{card_.net}' in a Python file, and no checkpoint decides what is executed; "
            f"say which: FILE.py:NAME@{path}"
        )
    elif net or card_ is None:
        weights, card_ = bare.identified(net, path, checkpoint, normalization, data)
    return _open(name or str(path), path, weights, card_, normalization)


def trained(teacher: Teacher) -> Teacher:
    """``teacher`` with weights: a built-in one that has none is trained now, into the very network it holds."""
    if teacher.sha256:
        return teacher
    checkpoint = checkpoints.read(train_built_in(teacher.name))
    identify.load(teacher.model.net, checkpoint.weights, teacher.path, teacher.card.net)
    recipe = checkpoint.card.recipe if checkpoint.card else ""
    return replace(teacher, card=replace(teacher.card, recipe=recipe), sha256=sha256_of(teacher.path))


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
    elif python_file.names_file(name):
        raise SpecError(f"teacher = {name!r}: a network without weights teaches nothing; write FILE.py:NAME@WEIGHTS")
    elif path.suffix not in checkpoints.SUFFIXES and not _exists(path):
        files = f"FILE ({', '.join(checkpoints.SUFFIXES)}) or NET@FILE"
        raise SpecError(f"{unknown(name, BUILT_IN, 'teacher')} (allowed also: a checkpoint, {files})")
    if not _exists(path):
        raise SpecError(f"teacher = {name!r}: {no_file(path)}")
    return net, path


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder that may not be entered
        return False


def adopt(
    name: str, model: nn.Module, shape: tuple[int, int, int], classes: int, normalization: str, folder: Path | str = "."
) -> str:
    """Make any module, trained elsewhere, a teacher; gives what ``teacher`` of a run is then.

    That is a copy, without what trained it on several devices or compiled it, on the CPU and in 32 bits; a few images
    go through it first. Its batch norms are the layers that keep ``running_mean`` and ``running_var``.

    Args:
        name: To be known by in this process.
        model: Takes images ``shape`` as ``normalization`` makes them, and gives logits [N, ``classes``], or
            [N, ``classes``, H, W] if it labels every pixel: alone, or in an object or a mapping that calls them
            "logits" (or "out"), as Hugging Face's models do.
        shape: [C, H, W].
        classes: K, two or more.
        normalization: One of ``NORMALIZATIONS``.
        folder: Its weights are written there, as ``name``.safetensors. A process that did not adopt it does not know
            the network, so such a run is begun and resumed where it was adopted.

    Raises:
        SpecError: if the name is taken, the normalization unknown, the model does not give logits for such images, or
            its weights cannot be written.
    """
    if normalization not in NORMALIZATIONS:
        raise SpecError(unknown(normalization, NORMALIZATIONS, "normalization"))
    check_new(name, nets.NETWORKS, "network")
    who, (mean, std) = f"teacher '{name}'", NORMALIZATIONS[normalization]
    _check_sizes(who, shape, classes, normalization)
    mine = Classifier(_own_copy(who, model), mean, std)
    task = trial.task_of_network(who, mine, shape)
    trial.examine_teacher(who, mine, shape, classes, task=task)
    path = Path(folder) / f"{name}.safetensors"
    try:
        save(mine, Card(name, classes, shape, mean, std, recipe="adopted in a notebook or script", task=task), path)
    except OSError as error:
        raise SpecError(
            f"folder = '{folder}': cannot write {path} ({error.strerror}); allowed: one that is there"
        ) from None
    nets.register(name, lambda channels, classes: copied(mine.net))
    return str(path)


def _check_sizes(who: str, shape: Sequence[int], classes: int, normalization: str) -> None:
    numbers = [*shape, classes] if isinstance(shape, (tuple, list)) else []
    if len(numbers) != 4 or not all(isinstance(each, int) and each > 0 for each in numbers):
        raise SpecError(f"{who}: shape = {shape!r} and classes = {classes!r}; allowed: [channels, height, width] and a "
                        "number, all above 0")  # fmt: skip
    channels = len(NORMALIZATIONS[normalization][0])
    if channels not in (1, shape[0]):
        raise SpecError(f"{who}: normalization = '{normalization}' is of {channels} channels, shape = {list(shape)}; "
                        "allowed: 'half', 'none', or one of so many channels")  # fmt: skip


def _own_copy(who: str, model: nn.Module) -> nn.Module:
    """A copy of the network itself, as a run computes with it.

    Raises:
        SpecError: if there is none.
    """
    if not isinstance(model, nn.Module):
        raise SpecError(f"{who} is {article(model)}; allowed: an nn.Module")
    trial.refuse_lazy(who, model)
    try:
        mine: nn.Module = uncompiled(copied(unwrapped(model))).cpu().float().eval()
    except Exception as error:
        raise SpecError(f"{who} cannot be copied to the CPU in 32 bits ({reason(error)})") from None
    return mine


def student_of(card: Card, net: str) -> Classifier:
    """A fresh student for the teacher's images and classes, normalized like the teacher."""
    return Classifier(nets.classifier(net, card.shape[0], card.classes), card.mean, card.std)


def _without_folders(name: str) -> str:
    """The name of a teacher without the folders of a Python file in it."""
    net, at, file = name.rpartition("@")
    return f"{python_file.short(net)}{at}{file}" if at else name


def _open(name: str, path: Path, weights: dict[str, Tensor] | None, card: Card, normalization: str) -> Teacher:
    mean, std = (card.mean, card.std) if normalization == "auto" else NORMALIZATIONS[normalization]
    if len(mean) not in (1, card.shape[0]):
        raise SpecError(f"{path}: a normalization of {len(mean)} channels does not fit images of {card.shape[0]}")
    if weights is not None and not python_file.names_file(card.net):  # before memory is taken for what a card says
        try:
            shapes = identify.shapes(card.net, card.shape[0], card.classes)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from None
        identify.check_shapes(shapes, weights, path, card.net)
    with preserved():
        net = nets.classifier(card.net, card.shape[0], card.classes)
    if weights is not None:
        identify.load(net, weights, path, card.net)
    model, digest = Frozen(net, mean, std), "" if weights is None else sha256_of(path)
    if digest:
        _examine(_without_folders(name), model, card)
    return Teacher(name, model, replace(card, mean=mean, std=std), path, digest)


def _examine(name: str, model: Frozen, card: Card) -> None:
    """Two images go through a teacher before it is used; one of a user's own network is looked at closer."""
    who = f"teacher = '{name}'"
    if not nets.is_published(card.net):
        trial.examine_teacher(who, model, card.shape, card.classes, python_file.file_of(card.net), card.task)
        return
    with preserved(), torch.no_grad():
        trial.logits(who, model, trial.probe(2, card.shape), card.classes, task=card.task)


def _range(tensors: Sequence[Tensor]) -> list[float]:
    """Smallest and largest value; nothing of nothing."""
    return [round(float(each), 4) for each in torch.cat(list(tensors)).aminmax()] if tensors else []
