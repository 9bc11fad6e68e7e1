"""What tests of several rooms share that is no fixture."""

from pathlib import Path
from typing import Any

import pytest

from dfkd_lab import METHODS, RunFolder, Session, plan
from dfkd_lab.spec import settings_of

ROOT = Path(__file__).parents[1]
"""The repository."""
TINY = {
    "batch": 16,
    "width": 8,
    "z_dim": 8,
    "g_steps": 2,
    "s_steps": 3,
    "cycles": 2,
    "capacity": 40,
    "warm_up": 1,
    "padding": 1,
    "jitter": 1,
    "replayed": 3,
    "vae_steps": 2,
    "bank_batches": 1,
    "bank_period": 1,
    "bank": 20,
    "negatives": 8,
    "g_life": 1,
    "s_batch": 16,
}
"""Sizes that make a round take a fraction of a second; a method takes those it has."""

WAITING = {
    "_local_scalar_dense",  # item(), float(), int(), bool(), tolist() of a single number
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "lift_fresh",  # torch.tensor(list)
    "masked_select",
    "multinomial",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
"""Operators whose result the host has to see, or whose size it has to know, so that it waits for the device."""


def own_file(width: int = 4, marker: Path | str = "") -> str:
    """A Python file with a network "Mine" and a function "fixed"; each import leaves a mark in ``marker``."""
    leave = f"with open({str(marker)!r}, 'a') as file:\n    file.write('executed ')\n" if marker else ""
    return f"""{leave}from torch import nn


class Mine(nn.Module):
    def __init__(self, channels, classes, width={width}):
        super().__init__()
        layers = nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1))
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        return self.head(self.features(images))


def fixed():
    return Mine(1, 10)
"""


def tiny(method: str) -> dict[str, Any]:
    """Settings of ``method`` with which a round takes well under a second."""
    return {name: value for name, value in TINY.items() if name in settings_of(METHODS[method])}


def fill_the_disk(patch: pytest.MonkeyPatch, file: Path) -> None:
    """Have what is written to ``file`` meet a full disk, with the system's own error."""
    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        return opened(Path("/dev/full") if path == file and "w" in mode else path, mode, *rest, **more)

    patch.setattr(Path, "open", full)


def events_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The rounds of a run folder as plain dictionaries."""
    return [report.event() for report in folder.reports()]


def finished(out: Path, method: str = "ssd_kd", **more: Any) -> RunFolder:
    """A finished run of two tiny rounds."""
    usual = {"rounds": 2, "device": "cpu", "evaluate_every": 1, "out": str(out)}
    session = Session(plan({**tiny(method), **usual, **more}, method=method))
    list(session)
    return session.folder
