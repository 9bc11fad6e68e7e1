"""The student of a run that has not finished, as its last checkpoint has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dfkd_lab import teachers
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, networks, own_code, records
from dfkd_lab.runs.recorder import CHECKPOINT
from dfkd_lab.spec import RunSpec
from dfkd_lab.teachers import Teacher


def of_state(folder: RunFolder, spec: RunSpec, state: dict[str, Any], trust_code: str = "") -> tuple[Teacher, bytes]:
    """The student with the card that a finished run gives it, and the bytes of the file that it would have.

    Args:
        folder: Of the run.
        spec: The run.
        state: As the run saved it.
        trust_code: Which text of the run's Python files may be executed, as ``own_code.TEXTS`` has it.

    Raises:
        RunError: if its teacher, whose images and classes it takes, is another one by now, or a Python file is not
            trusted.
        SpecError: if teacher or network are not to be had here.
        DamagedFile: if the weights are not those of the network.
    """
    own_code.admitted(spec, trust_code, "export")
    teacher = networks.teacher_of(folder, spec)
    student = networks.student_of(folder, spec, teacher.card, state)
    with TemporaryDirectory() as place:
        file = Path(place) / networks.STUDENT
        teachers.save(student, records.card_of_student(spec, teacher), file)
        found = teachers.of_file(file, spec.student if python_file.names_file(spec.student) else "")
        return replace(found, path=folder.path / CHECKPOINT), file.read_bytes()
