"""The two networks of a run as its folder has them: the teacher it was begun with, and the student it saved last."""

from __future__ import annotations

from typing import Any

from dfkd_lab import teachers
from dfkd_lab.errors import DamagedFile
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.recorder import CHECKPOINT
from dfkd_lab.runs.records import refuse_other_teacher
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.faults import reason
from dfkd_lab.system.rng import preserved
from dfkd_lab.teachers import Card, Teacher, checkpoints, identify

STUDENT = "student.safetensors"
"""Of a finished run."""


def teacher_of(folder: RunFolder, spec: RunSpec) -> Teacher:
    """The teacher of a run, also where its evaluation set is not; its Python file, if any, was admitted before.

    Raises:
        SpecError: if it is not to be had.
        RunError: if it is another one by now.
    """
    teacher = teachers.trained(teachers.find(spec.teacher, spec.normalization, spec.data, is_read=False))
    refuse_other_teacher(folder, teacher)
    return teacher


def student_of(folder: RunFolder, spec: RunSpec, card: Card, state: dict[str, Any] | None) -> Classifier:
    """The student of a run, in eval mode on the CPU; its Python file, if it is from one, was admitted before.

    Args:
        folder: Of the run.
        spec: The run.
        card: Of its teacher.
        state: As the run saved it; None takes the file of a finished run.

    Raises:
        DamagedFile: if the weights are not those of this network.
        SpecError: if the network is not to be had, or the file cannot be read.
    """
    with preserved():
        student = teachers.student_of(card, spec.student)
    if state is None:
        path = folder.path / STUDENT
        identify.load(student.net, checkpoints.read(path).weights, path, spec.student)
        return student.eval()
    try:
        student.load_state_dict(state["student"])
    except Exception as error:  # a state is what whoever wrote it has put there
        cure = "put it back from a copy, or remove it"
        raise DamagedFile(f"{folder.path / CHECKPOINT} cannot be used ({reason(error)}); {cure}") from None
    return student.eval()
