"""Checkpoint files: what is in them, without executing any of it, and writing our own."""

from __future__ import annotations

import json
import os
import pickle
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.system.files import write_atomically

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".tar")
WRAPPERS = ("ema_state_dict", "model_ema", "ema", "state_dict_ema", "state_dict", "model_state_dict", "model", "net")
"""Entries under which a training script keeps the weights; averaged ones are preferred, as they are what it tested."""
MOST_NEAR = 50


def near_by() -> list[str]:
    """Files that may be teachers, newest first: near the working folder, in its runs, and in ``$DFKD_DATA``."""
    here = Path("..") if Path.cwd().name == "notebooks" else Path()
    found = [path for pattern in ("*", "*/*", "runs/*/student.*") for path in here.glob(pattern)]
    if data := os.environ.get("DFKD_DATA"):
        found += [path for pattern in ("*", "teachers/*") for path in Path(data).expanduser().glob(pattern)]
    files = [path for path in found if path.suffix in SUFFIXES and path.name != "checkpoint.pt" and path.is_file()]
    return [str(path) for path in sorted(set(files), key=lambda path: -path.stat().st_mtime)[:MOST_NEAR]]


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
    class_names: tuple[str, ...] = ()
    """In the order of the outputs, where the training data brought them."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, its card if it has one, and the entries of the file in which they were found."""

    weights: dict[str, Tensor]
    card: Card | None = None
    found_in: str = ""


def read(path: Path) -> Checkpoint:
    """What is in a checkpoint. Pickled code is refused, never run.

    Raises:
        SpecError: if the file is damaged, holds more than tensors, or no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                facts = json.loads((file.metadata() or {}).get("dfkd_lab", "null"))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return Checkpoint(weights, _card(facts, path))
        return _state_dict(torch.load(path, map_location="cpu", weights_only=True), path)
    except pickle.UnpicklingError as error:
        raise SpecError(_unpicklable(path, str(error))) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        if isinstance(error, SpecError):
            raise
        reason = str(error).splitlines()[0].split(". ")[0][:120] if str(error) else type(error).__name__
        raise SpecError(f"{path} is not a readable checkpoint, it may be truncated ({reason})") from None


def save(model: Classifier, card: Card, path: Path) -> None:
    """Write ``model`` with its card, atomically and without pickle; the same weights give the same bytes.

    Raises:
        OSError: if the file cannot be written.
    """
    # cloned, for tensors that share their memory, as tied weights do, are refused
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.net.state_dict().items()}
    facts = {**asdict(card), **nets.revision(card.net)}
    if not card.class_names:  # as releases that knew none wrote it, and can read it
        del facts["class_names"]
    # not save_file, whose errors do not say what the system said
    write_atomically(path, serialized(weights, metadata={"dfkd_lab": json.dumps(facts, sort_keys=True)}), shared=True)


def _state_dict(content: Any, path: Path) -> Checkpoint:
    entries = []
    while isinstance(content, dict):
        entry = next((name for name in WRAPPERS if isinstance(content.get(name), dict)), "")
        if not entry:
            break
        content = content[entry]
        entries.append(entry)
    if isinstance(content, dict):
        # torch's AveragedModel counts
        content = {name: value for name, value in content.items() if name != "n_averaged"}
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise SpecError(f"{path} holds no state dict of tensors (looked for: {', '.join(WRAPPERS)})")
    return Checkpoint({str(name): value for name, value in content.items()}, found_in=".".join(entries))


def _unpicklable(path: Path, reason: str) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", reason)
    if not wanted:
        return f"{path} is no checkpoint of torch, or damaged; only tensors are loaded, never code"
    return (
        f"{path} holds more than tensors ({wanted[1]}), and code in a file is never run; "
        "save the weights alone: torch.save(model.state_dict(), FILE)"
    )


def _card(facts: Any, path: Path) -> Card | None:
    if facts is None:
        return None
    try:
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
        }
        revision = tuples.pop("revision", 0)
        card = Card(**tuples)
        numbers = [card.classes, *card.shape, *card.mean, *card.std]
        if not all(isinstance(each, str) for each in (card.net, *card.class_names)) or not all(
            isinstance(number, (int, float)) for number in numbers
        ):
            raise TypeError
        if card.class_names and len(card.class_names) != card.classes:
            raise TypeError
        if min(card.classes, *card.shape, *card.std) <= 0 or len(card.shape) != 3 or len(card.mean) != len(card.std):
            raise TypeError
    except (TypeError, AttributeError):
        raise SpecError(f"{path} has a card this version cannot read") from None
    return replace(card, net=nets.as_written(card.net, revision))
