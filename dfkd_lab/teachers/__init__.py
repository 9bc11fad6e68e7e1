"""Teachers: found, loaded, identified, measured, trained."""

from dfkd_lab.data import NORMALIZATIONS
from dfkd_lab.teachers.built_in import BUILT_IN, train_built_in
from dfkd_lab.teachers.calibration import Calibration
from dfkd_lab.teachers.checkpoints import Card, near_by, save
from dfkd_lab.teachers.dense import evaluation_of, sizes
from dfkd_lab.teachers.loading import Teacher, adopt, find, load, locate, of_file, student_of, trained
from dfkd_lab.teachers.measurement import (
    Measurement,
    check,
    evaluation_images,
    examine,
    examine_on,
    kept_measurement,
    measured,
    real_images,
)
from dfkd_lab.teachers.typed_names import typed

__all__ = [
    "BUILT_IN",
    "NORMALIZATIONS",
    "Calibration",
    "Card",
    "Measurement",
    "Teacher",
    "adopt",
    "check",
    "evaluation_images",
    "evaluation_of",
    "examine",
    "examine_on",
    "find",
    "kept_measurement",
    "load",
    "locate",
    "measured",
    "near_by",
    "of_file",
    "real_images",
    "save",
    "sizes",
    "student_of",
    "train_built_in",
    "trained",
    "typed",
]
