"""The student's last loss on each stored image, round by round: a file beside each sample grid that is kept.

A buffer that reads by priority knows those losses anyway, and forgets them as it goes on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfkd_lab.errors import DamagedFile
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.system.faults import reason
from dfkd_lab.system.files import write_atomically

SUFFIX = ".losses.npy"
LARGEST = 1e30
"""A student that diverges has losses that are no longer told apart."""
CURE = "remove it, and only the losses of that round are lost"


def file_of(grid: Path) -> Path:
    """Where the losses are that belong to a sample grid."""
    return grid.with_suffix(SUFFIX)


def known_to(memory: Mapping[str, Tensor]) -> Tensor | None:
    """The losses [N] that a memory with this state has of its N images; None of a memory that asks for none."""
    ring = "ring." if "views" in memory else ""  # of kept views, the buffer that they are of
    if (losses := memory.get(f"{ring}priorities")) is None:
        return None
    return losses[: min(len(losses), int(memory[f"{ring}written"]))]


def write(path: Path, losses: Tensor) -> None:
    """Write what :func:`known_to` found to ``path``."""
    content = io.BytesIO()
    np.save(content, losses.float().numpy(), allow_pickle=False)
    write_atomically(path, content.getvalue())


def read(folder: RunFolder, born: Tensor, round: int) -> tuple[Tensor, Tensor] | None:
    """What was written up to ``round`` of images that are stored after it.

    Args:
        folder: Of the run.
        born: The round [N] in which each was made, in the order of their places.
        round: The last that counts.

    Returns:
        The rounds [R], and the losses [N, R] after each; not a number where an image was not made yet. None if nothing
        was written.

    Raises:
        DamagedFile: if one of the files is not what :func:`write` writes.
    """
    files = {number: file_of(grid) for number, grid in folder.samples().items() if number <= round}
    columns: dict[int, Tensor] = {}
    for number, file in files.items():
        if file.is_file():
            losses, column = _losses(file, len(born)), torch.full((len(born),), torch.nan)
            column[: len(losses)] = losses
            columns[number] = column.where(born <= number, torch.nan)
    return (torch.tensor([*columns]), torch.stack([*columns.values()], 1)) if columns else None


def _losses(file: Path, most: int) -> Tensor:
    """Those of up to ``most`` images, for a buffer only gains some."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)  # mapped: a header may promise more than there is
        if found.ndim != 1 or found.dtype != np.float32:
            raise ValueError(f"{found.dtype} with {found.ndim} axes")
        if len(found) > most:
            raise ValueError(f"{len(found):,} losses, and there are {most:,} images")
        if not (found >= 0).all():
            raise ValueError("a loss that is no number from 0 on")
        return torch.from_numpy(np.array(found)).clamp(max=LARGEST)
    except Exception as error:
        raise DamagedFile(f"{file} is damaged ({reason(error)}); {CURE}") from None
