"""Stand-ins for what a reader brings: a module that was trained elsewhere, and a folder of images."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn
from torchvision.transforms.functional import to_pil_image

from dfkd_lab import data, teachers


def module() -> nn.Module:
    """A plain module that takes normalized digits [N, 1, 16, 16] and gives logits [N, 10]."""
    return copy.deepcopy(teachers.load("digits").model.net)


def images(folder: Path | str) -> str:
    """Write the held-out digits as ``folder``/test/CLASS/*.png, unless they are there; gives ``folder``."""
    root = Path(folder)
    if not root.exists():
        split = data.evaluation_set("digits")
        assert split is not None
        for number, (image, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True)):
            path = root / "test" / str(label) / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            to_pil_image(image).save(path)
    return str(root)
