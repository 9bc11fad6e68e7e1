"""Checkpoint files: what is in them, without executing any of it, and writing our own."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.text import printable, steering
from dfkd_lab.teachers import file_kinds, state_dicts, torch_files
from dfkd_lab.teachers.pickle_reader import StandIn

SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".tar")
MOST_NEAR = 50
MOST_TENSORS = 6_000
"""Of a file; the largest networks of timm have some 3,000."""
LONGEST_NAME = 300
"""Of a tensor, in characters."""
LARGEST_HEADER = 8 << 20
"""Bytes that a safetensors file says all its names and shapes in; 6,000 tensors take 1 MB."""
MOST_CLASSES = 100_000
LARGEST_SIDE = 4096
MOST_CHANNELS = 64
MOST_VALUES = 2**22
"""Of an image: a card of a few bytes asks for no more memory than a trial of 2,048 x 2,048 gray pixels takes."""
LONGEST_TEXT = 4000


def near_by() -> list[str]:
    """Files that may be teachers, newest first: near the working folder, in its runs, and in ``$DFKD_DATA``."""
    here = Path("..") if Path.cwd().name == "notebooks" else Path()
    found = [path for pattern in ("*", "*/*", "runs/*/student.*") for path in here.glob(pattern)]
    if data := os.environ.get("DFKD_DATA"):
        found += [path for pattern in ("*", "teachers/*") for path in Path(data).expanduser().glob(pattern)]
    files = [path for path in found if path.suffix in SUFFIXES and path.name != "checkpoint.pt" and path.is_file()]
    return [str(path) for path in sorted(set(files), key=lambda path: -path.stat().st_mtime)[:MOST_NEAR]]


TASKS = ("classification", "segmentation")
OPTIONAL = ("class_names", "task")
"""Entries of a card that are written only where they say something."""


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
    task: str = "classification"
    """Or "segmentation": logits [N, K, H, W], a class for every pixel."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, its card if it has one, and the entries of the file in which they were found."""

    weights: dict[str, Tensor]
    card: Card | None = None
    found_in: str = ""
    left_out: str = ""
    """What was among them and is no tensor, in words."""
    others: tuple[Checkpoint, ...] = ()
    """State dicts of the same file, to be tried where this one fits no network."""


def read(path: Path) -> Checkpoint:
    """What is in a checkpoint, by its content, not its suffix. Pickled code is never run.

    Sizes, shapes and structure are bounded before they are acted on: a file takes about its own size of memory.

    Raises:
        SpecError: if the file is damaged, of another kind, or holds no state dict of plain tensors.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(f"{path} is no regular file; allowed: a checkpoint")
        with torch_files.BoundedFile(path) as file:
            return _read(file)
    except SpecError:
        raise
    except Exception as error:  # whatever a damaged file makes of its readers, such as a place before its beginning
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise SpecError(f"{path} cannot be read: {error.strerror or error}") from None
        raise SpecError(f"{path} is not a readable checkpoint, it may be truncated ({_reason(error)})") from None


def save(model: Classifier, card: Card, path: Path) -> None:
    """Write ``model`` with its card, atomically and without pickle; the same weights give the same bytes.

    Raises:
        OSError: if the file cannot be written.
    """
    # cloned, for tensors that share their memory, as tied weights do, are refused
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.net.state_dict().items()}
    facts = {**asdict(card), **nets.revision(card.net)}
    for name in OPTIONAL:  # as releases that knew none wrote it, and can read it
        if getattr(card, name) == getattr(Card, name):
            del facts[name]
    # not save_file, whose errors do not say what the system said
    write_atomically(path, serialized(weights, metadata={"dfkd_lab": json.dumps(facts, sort_keys=True)}), shared=True)


def _read(file: torch_files.BoundedFile) -> Checkpoint:
    start = file.read(file_kinds.BEGINNING_BYTES)
    file.seek(0)
    file_kinds.refuse_other(start, file.path)
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            file_kinds.refuse_other_archive(archive.namelist(), file.path)
            return _state_dicts(*torch_files.read_archive(archive, file))
    if file_kinds.is_safetensors(start):
        return _safetensors(file.path, int.from_bytes(start[:8], "little"))
    if start.startswith(b"\x80") and (content := torch_files.read_legacy(file)):
        return _state_dicts(*content)
    raise SpecError(f"{file.path} is no checkpoint of torch.save or safetensors, or it is damaged")


def _safetensors(path: Path, header_bytes: int) -> Checkpoint:
    if header_bytes > LARGEST_HEADER:
        raise SpecError(f"{path} has a safetensors header of {header_bytes} bytes; allowed: {LARGEST_HEADER}")
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        _check_names(names, path)
        facts = json.loads((file.metadata() or {}).get("dfkd_lab", "null"))
        return Checkpoint({name: file.get_tensor(name) for name in names}, _card(facts, path))


def _state_dicts(content: Any, tensor: torch_files.TensorReader) -> Checkpoint:
    """What ``content`` holds, the likeliest state dict before the others."""
    found, refusal = [], None
    for each in state_dicts.find(content):
        try:
            found.append((each, _checkpoint(each, tensor)))
        except SpecError as error:
            refusal = refusal or error
    if not found or (refusal and not found[0][0].is_expected):
        raise refusal or _nothing_found(content, tensor.path)
    first, *rest = (checkpoint for _, checkpoint in found)
    return replace(first, others=tuple(rest))


def _checkpoint(found: state_dicts.StateDict, tensor: torch_files.TensorReader) -> Checkpoint:
    if refusal := _more_than_tensors(found.others, tensor.path):
        raise refusal
    _check_names(list(found.tensors), tensor.path)
    weights = {name: tensor(value, name) for name, value in found.tensors.items()}
    names = [printable(name[:LONGEST_NAME]) for name in found.others]
    left_out = " and ".join([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])])
    return Checkpoint(weights, found_in=found.found_in, left_out=left_out)


def _nothing_found(content: Any, path: Path) -> SpecError:
    other = {"": content} if isinstance(content, StandIn) else content
    looked_for = ", ".join(state_dicts.WRAPPERS)
    otherwise = SpecError(f"{path} holds no state dict of tensors (looked for: {looked_for})")
    return (_more_than_tensors(other, path) if isinstance(other, dict) else None) or otherwise


def _more_than_tensors(entries: dict[Any, Any], path: Path) -> SpecError | None:
    """What refuses entries that are objects, whose code would have to be run."""
    for name, value in entries.items():
        if isinstance(value, StandIn):
            what = f"'{printable(str(name)[:LONGEST_NAME])}' is of {value.name}" if name else value.name
            return SpecError(
                f"{path} holds more than tensors ({what}), and code in a file is never run; in the script that "
                "wrote it, save model.state_dict() alone"
            )
    return None


def _check_names(names: list[str], path: Path) -> None:
    if len(names) > MOST_TENSORS:
        raise SpecError(f"{path} holds {len(names)} tensors; allowed: up to {MOST_TENSORS}")
    if (longest := max((len(name) for name in names), default=0)) > LONGEST_NAME:
        raise SpecError(f"{path} has a tensor with a name of {longest} characters; allowed: up to {LONGEST_NAME}")
    if odd := next((name for name in names if not name.isprintable()), ""):
        raise SpecError(f"{path} has a tensor called '{printable(odd)}'; allowed: names that can be printed")


def _reason(error: Exception) -> str:
    said = str(error).strip() or type(error).__name__
    return printable(said.splitlines()[0].split(". ")[0][:120])


def _card(facts: Any, path: Path) -> Card | None:
    if facts is None:
        return None
    if not isinstance(facts, dict):
        raise SpecError(f"{path} has a card this version cannot read: it is no object of names and values")
    revision = facts.pop("revision", 0)
    for name, value in facts.items():
        if (check := ALLOWED.get(name)) and not check[0](value):
            raise SpecError(f"{path} has a card this version cannot read: its {name} is not {check[1]}")
    try:
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
        }
        card = Card(**tuples)
    except TypeError:
        wanted = ", ".join(name for name in ALLOWED if name not in OPTIONAL)
        raise SpecError(f"{path} has a card this version cannot read: it does not have the entries {wanted}") from None
    if len(card.mean) != len(card.std) or len(card.mean) not in (1, card.shape[0]):
        raise SpecError(
            f"{path} has a card this version cannot read: mean and std are not of its {card.shape[0]} channels"
        )
    if card.class_names and len(card.class_names) != card.classes:
        raise SpecError(
            f"{path} has a card this version cannot read: {len(card.class_names)} names of {card.classes} classes"
        )
    return replace(card, net=nets.as_written(card.net, revision))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and not steering(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_CLASSES and all(map(_is_text, value))


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _is_shape(value: Any) -> bool:
    most = (MOST_CHANNELS, LARGEST_SIDE, LARGEST_SIDE)
    counts = isinstance(value, list) and len(value) == 3 and all(map(_is_count, value, most))
    return counts and math.prod(value) <= MOST_VALUES


def _are_numbers(value: Any, low: float) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= MOST_CHANNELS
        and all(type(each) in (int, float) and math.isfinite(each) and low < each < 1e6 for each in value)
    )


TEXT = f"text of up to {LONGEST_TEXT} characters, none of which is a control character"
ALLOWED = {
    "net": (_is_text, TEXT),
    "classes": (lambda value: _is_count(value, MOST_CLASSES), f"a whole number from 1 to {MOST_CLASSES}"),
    "shape": (
        _is_shape,
        f"[channels, height, width] of up to {[MOST_CHANNELS, LARGEST_SIDE, LARGEST_SIDE]} and {MOST_VALUES:,} values",
    ),
    "mean": (lambda value: _are_numbers(value, -1e6), "a list of numbers, one a channel"),
    "std": (lambda value: _are_numbers(value, 0), "a list of numbers above 0, one a channel"),
    "data": (_is_text, TEXT),
    "recipe": (_is_text, TEXT),
    "class_names": (_are_texts, f"a list of up to {MOST_CLASSES} texts without control characters"),
    "task": (lambda value: value in TASKS, " or ".join(TASKS)),
}
"""Whether a value of a card can be, and what is allowed in words."""
