"""Teachers that are known by name: trained here by a fixed recipe when the cache has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from dfkd_lab import data
from dfkd_lab.system.environment import cache
from dfkd_lab.teachers.checkpoints import Card
from dfkd_lab.teachers.recipes import DENSE, DIGITS, TrainingRecipe
from dfkd_lab.teachers.teacher_spec import TeacherSpec
from dfkd_lab.teachers.training import TeacherTraining


@dataclass(frozen=True)
class BuiltIn:
    """A teacher by name: what is trained, how, and the file in the cache."""

    spec: TeacherSpec
    recipe: TrainingRecipe
    file: str
    student: str
    """The one that goes with it: half as wide, or less."""

    @property
    def path(self) -> Path:
        """Where it is, or will be."""
        return cache() / self.file

    @property
    def card(self) -> Card:
        """What is known of it before it is trained."""
        row = data.find(self.spec.data)
        assert row is not None, "a built-in teacher is of a data set that has a row"
        facts = (row.classes, row.synthesis_shape, *row.normalization, self.spec.data)
        names = row.class_names if row.task == "segmentation" else ()
        return Card(self.spec.net, *facts, class_names=names, task=row.task)


BUILT_IN = {
    "digits": BuiltIn(
        TeacherSpec("convnet_32", "digits", epochs=20, device="cpu"),
        DIGITS,
        "digits-convnet_32-v1.safetensors",
        "convnet_8",
    ),
    "scenes": BuiltIn(
        TeacherSpec("unet_24", "scenes", epochs=8, device="cpu"), DENSE, "scenes-unet_24-v1.safetensors", "unet_12"
    ),
}


def train_built_in(name: str) -> Path:
    """Train a built-in teacher into the cache if it is not there (digits: 10 s, scenes: 50 s); gives its file.

    Processes that want it at the same time wait for the first of them.
    """
    path, recipe = BUILT_IN[name].path, BUILT_IN[name].recipe
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        with FileLock(lock):
            if not path.exists():
                for _ in TeacherTraining(replace(BUILT_IN[name].spec, out=str(path)), recipe):
                    pass
        lock.unlink(missing_ok=True)
    return path
