"""What is said of a teacher before it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfkd_lab import data
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.spec import device_setting, setting
from dfkd_lab.system.environment import cache

EPOCHS = 60
"""Where neither these nor minutes are named, and the most that are laid out for minutes."""


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher to train by the fixed recipe; the same command again continues it."""

    net: str = setting("convnet_32", "network to train, or FILE.py:NAME of your own")
    data: str = setting("digits", "data set to train on, and to measure on its held-out split")
    epochs: int = setting(
        0, f"passes over the training images; 0: {EPOCHS}, or as many as fit into minutes", low=0, high=10_000
    )
    seed: int = setting(0, "seed of all random numbers of the training", low=0, high=2**31 - 1)
    out: str = setting("", "file to write, FILE.safetensors; empty names it after the training, in the user's cache")
    device: str = device_setting()
    side: int = setting(32, "height and width to fit the images of a folder to", low=8, high=1024, unit="pixels")
    minutes: float = setting(
        0.0, "lay out the training for this time; with epochs, end after it, saved", low=0, high=100_000, unit="min"
    )

    @property
    def is_laid_out(self) -> bool:
        """Whether the minutes decide how long the training is."""
        return self.minutes > 0 and not self.epochs

    @property
    def length(self) -> tuple[str, float]:
        """The setting that decides how long the training is, and its value."""
        return ("minutes", self.minutes) if self.is_laid_out else ("epochs", self.epochs or EPOCHS)

    @property
    def command(self) -> str:
        """What decides the weights, as it is typed."""
        side = f" --side {self.side}" if self.data.startswith((data.FOLDER, data.PAIRS)) else ""
        net = python_file.short(self.net)
        code = f" ({python_file.identity(self.net)})" if python_file.names_file(self.net) else ""
        name, value = self.length
        return f"train-teacher {net} --data {self.data}{side} --{name} {value:g} --seed {self.seed}{code}"

    @property
    def path(self) -> Path:
        """The file that the finished teacher is written to."""
        names = "-".join(each.replace(":", "-") for each in (Path(self.data).name, python_file.short(self.net)))
        length, value = self.length
        name = f"{names}-{length}{value:g}-seed{self.seed}.safetensors"
        return Path(self.out).expanduser() if self.out else cache() / name

    def check_side(self) -> None:
        """Refuse a ``side`` that nothing is fitted to.

        Raises:
            SpecError: for data whose images have a size of their own.
        """
        if self.side != type(self)().side and not self.data.startswith((data.FOLDER, data.PAIRS)):
            allowed = f"'{data.FOLDER}PATH' and '{data.PAIRS}ROOT', whose images are fitted to it"
            raise SpecError(
                f"side = {self.side}: images of data = '{self.data}' have their own size; allowed with {allowed}"
            )

    @property
    def checkpoint(self) -> Path:
        """The file that an unfinished training is kept in, beside the other."""
        return self.path.with_name(self.path.name + ".part")
