"""Samples to look at: a grid of synthetic images by class, and beside it what the teacher says of each."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dfkd_lab.errors import RunError
from dfkd_lab.primitives.batch import Batch, to_uint8
from dfkd_lab.runs import contents, maps
from dfkd_lab.system.files import write_atomically

ROWS, COLUMNS = 20, 10
MAPS = 8
"""Images that are shown with a class for every pixel."""
MOST_CHANNELS = 4
"""Of a picture."""


def prepare() -> None:
    """Have Pillow import the formats it writes now, and not in the midst of a run, which is sealed."""
    Image.preinit()


def shown(batch: Batch, student: Tensor | None = None) -> dict[str, Tensor | None]:
    """What of a batch is shown, for :func:`write`: images as bytes, each once, and what is known of each.

    A batch that is read from a buffer may have an image more than once.

    Args:
        batch: Of a round.
        student: The student's class of each pixel [N, H, W], of dense predictions.
    """
    assert batch.predicted is not None
    images = to_uint8(batch.images[: len(batch.predicted)])
    rows = _first_of_each(images)
    if student is not None:
        rows = rows[:MAPS]
        return {"images": images[rows], "predicted": batch.predicted[rows], "student": student[rows]}
    known = {name: getattr(batch, name) for name in ("labels", "predicted", "confidence")}
    return {"images": images[rows], **{name: each if each is None else each[rows] for name, each in known.items()}}


def _first_of_each(images: Tensor) -> Tensor:
    """The places of images [N, C, H, W] at which none before is the same."""
    _, which = images.flatten(1).unique(dim=0, return_inverse=True)
    places = torch.arange(len(which), device=which.device)
    return places.new_full((int(which.max()) + 1,), len(which)).scatter_reduce(0, which, places, "amin").sort().values


def write(path: Path, names: Sequence[str], shown: dict[str, Tensor]) -> None:
    """Write the grid to ``path`` and what is known of its images beside it; the grid last, as readers look for it.

    Args:
        path: Of a PNG.
        names: Of the classes.
        shown: From :func:`shown`.
    """
    png = io.BytesIO()
    if "student" in shown:
        grid, facts = maps.grid(**shown), maps.facts(names, **shown)
    else:
        batch = Batch(**shown)
        grid, facts = sample_grid(batch, len(names)), sample_facts(batch, len(names))
    grid.save(png, "png")
    write_atomically(path.with_suffix(".json"), json.dumps(facts).encode())
    write_atomically(path, png.getvalue())


def read(path: Path) -> Tensor:
    """The images of a grid that :func:`write` wrote, [N, C, H, W], uint8; those of dense predictions have 3 channels.

    Raises:
        RunError: if what is beside it cannot be read, or is not there.
    """
    if not (facts := contents.sample(path.with_suffix(".json"))):
        raise RunError(f"where the images in {path} are is not known, as its run is from before that was kept")
    high, wide = facts["height"], facts["width"]
    with Image.open(path) as grid:
        pixels = np.atleast_3d(np.asarray(grid))
    if "cells" in facts:
        places = [(each["row"] * (high + 1), each["column"] * (wide + 1)) for each in facts["cells"]]
    else:
        places = [(row * (high + maps.GAP), 0) for row in range(facts["images"])]
    cut = [pixels[top : top + high, left : left + wide] for top, left in places]
    found = np.stack(cut) if cut else np.zeros((0, high, wide, pixels.shape[2]), np.uint8)
    return torch.from_numpy(found).permute(0, 3, 1, 2)


def sample_grid(batch: Batch, classes: int, columns: int = COLUMNS) -> Image.Image:
    """Up to ``columns`` images a class, one row for each of the first 20 classes the teacher sees, 1 pixel apart.

    Of images with more channels than a picture has, four, the first three are shown.
    """
    assert batch.predicted is not None
    shown = batch.images[: len(batch.predicted), : 3 if batch.images.shape[1] > MOST_CHANNELS else None]
    images = to_uint8(shown).permute(0, 2, 3, 1).cpu().numpy()
    _, height, width, channels = images.shape
    rows = min(classes, ROWS)
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), 128, np.uint8)
    for row, column, index in _places(batch.predicted, rows, columns):
        top, left = row * (height + 1), column * (width + 1)
        grid[top : top + height, left : left + width] = images[index]
    return Image.fromarray(grid.squeeze(2) if channels == 1 else grid)


def sample_facts(batch: Batch, classes: int, columns: int = COLUMNS) -> dict[str, Any]:
    """Where :func:`sample_grid` puts each image, the class the teacher sees, its probability, and the target class.

    What is not known is None.
    """
    assert batch.predicted is not None
    n, rows = len(batch.predicted), min(classes, ROWS)
    predicted = batch.predicted.tolist()
    confidence = [None] * n if batch.confidence is None else [round(value, 4) for value in batch.confidence.tolist()]
    targets = [None] * n if batch.labels is None else batch.labels.tolist()
    cells = [
        {
            "row": row,
            "column": column,
            "predicted": predicted[index],
            "confidence": confidence[index],
            "asked": None if targets[index] == -1 else targets[index],  # a buffer's word for none
        }
        for row, column, index in _places(batch.predicted, rows, columns)
    ]
    height, width = batch.images.shape[2:]
    return {"height": height, "width": width, "rows": rows, "columns": columns, "cells": cells}


def _places(predicted: Tensor, rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Row, column, and place in the batch of every image that is shown."""
    predicted = predicted.cpu()
    for row in range(rows):
        for column, index in enumerate((predicted == row).nonzero().flatten()[:columns].tolist()):
            yield row, column, index
