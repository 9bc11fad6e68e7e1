"""The synthetic images as files: a folder that other trainings read as they read any set of images."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from safetensors.torch import save
from torch import Tensor

from dfkd_lab.runs.synthetic import Labelled
from dfkd_lab.system.text import csv_table

TABLE = "labels.csv"
MOST_MASKED = 255
"""Classes that a byte can number beside 255, which masks keep for what counts nowhere."""


def files(images: Tensor, labelled: Labelled, names: Sequence[str]) -> Iterator[tuple[Path, bytes]]:
    """Names below a folder, and contents.

    Images of one or three channels are PNG: ``train/CLASS/00000.png`` by the teacher's class, and ``labels.csv`` with
    file, class, its name and the teacher's probability; where every pixel has a class, ``train/images/00000.png`` and
    ``train/masks/00000.png``. Others are one ``images.safetensors``: ``images`` uint8 [N, C, H, W], ``classes`` and
    ``confidence``, [N] or [N, H, W].

    Args:
        images: [N, C, H, W] as bytes.
        labelled: What the teacher says of them.
        names: Of the classes.
    """
    if images.shape[1] not in (1, 3) or (labelled.classes.ndim > 1 and len(names) > MOST_MASKED):
        tensors = {"images": images, "classes": labelled.classes, "confidence": labelled.confidence}
        yield Path("images.safetensors"), save({name: each.contiguous() for name, each in tensors.items()})
    elif labelled.classes.ndim > 1:
        for number, (image, mask) in enumerate(zip(images, labelled.classes, strict=True)):
            yield Path("train/images", f"{number:05}.png"), _png(image)
            yield Path("train/masks", f"{number:05}.png"), _png(mask.byte()[None])
    else:
        rows = []
        classes, confidence = labelled.classes.tolist(), labelled.confidence.tolist()
        for number, (image, class_, sure) in enumerate(zip(images, classes, confidence, strict=True)):
            path = Path("train", str(class_), f"{number:05}.png")
            rows.append({"file": path.as_posix(), "class": class_, "name": names[class_], "confidence": round(sure, 6)})
            yield path, _png(image)
        yield Path(TABLE), csv_table(rows, ["file", "class", "name", "confidence"]).encode()


def _png(image: Tensor) -> bytes:
    """An image [C, H, W], as bytes, of one or three channels."""
    file, pixels = io.BytesIO(), image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "png")
    return file.getvalue()
