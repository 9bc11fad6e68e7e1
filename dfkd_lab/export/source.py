"""What leaves of a run: its student, its synthetic images, and what its folder says of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from dfkd_lab.errors import DamagedFile, RunError
from dfkd_lab.export import student
from dfkd_lab.export.siblings import Measured, measured, of_log
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, synthetic
from dfkd_lab.runs.digests import Digests
from dfkd_lab.runs.recorder import CHECKPOINT, saved_state
from dfkd_lab.runs.synthetic import Labelled, Synthetic
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.faults import reason
from dfkd_lab.teachers import Card, Teacher, class_order


@dataclass(frozen=True)
class Source:
    """A run that is not on, its student read back and found to be what the run saved."""

    folder: RunFolder
    spec: RunSpec
    student: Teacher
    weights: bytes
    """The file of the student, as a finished run has it."""
    round: int
    """After which the student was saved; the last one of a finished run."""
    synthetic: Synthetic
    checked: str
    """What the student's weights were held against, in words."""
    trust_code: str
    measured: Measured | None
    """None where the run had no evaluation set, or was not evaluated after that round."""
    manifest: dict[str, Any]
    seal: dict[str, Any]
    result: dict[str, Any]

    @classmethod
    def of(cls, folder: RunFolder, needs_images: str = "", trust_code: str = "") -> Source:
        """Read a run folder.

        Args:
            folder: Of the run.
            needs_images: A format that there is nothing of without synthetic images, or "".
            trust_code: Which text of the run's own Python files may be executed.

        Raises:
            RunError: if the run is on, has saved no student or is damaged, or has no synthetic images where they are
                needed.
            SpecError: if the student's network is not to be had here.
        """
        state = saved_state(folder)
        found, weights = student.of_run(folder, state, trust_code)
        for name in ("manifest.json", "seal.json"):
            Digests(folder.path).check(name, "put it back from a copy")
        student.refuse_other_card(found, folder.manifest())
        spec = folder.spec()
        round = spec.rounds if state is None or student.is_finished(folder) else state["round"]
        try:
            checked = _checked(found, state)
            images = synthetic.of_run(spec, state, trust_code)
        except DamagedFile:
            raise
        except RunError as error:
            if needs_images:
                lacking = f"to = '{needs_images}' needs synthetic images, and {folder.path} has none"
                raise RunError(f"{lacking}: {error}") from None
            images = Synthetic(torch.zeros(0, *found.card.shape, dtype=torch.uint8), "no synthetic image")
        except Exception as error:  # a state is what whoever wrote it has put there
            cure = "put it back from a copy, or remove it"
            raise DamagedFile(f"{folder.path / CHECKPOINT} cannot be used ({reason(error)}); {cure}") from None
        told = measured(folder, spec, round), folder.manifest(), folder.seal(), of_log(folder, round)
        return cls(folder, spec, found, weights, round, images, checked, trust_code, *told)

    @property
    def card(self) -> Card:
        """Of the student."""
        return self.student.card

    @property
    def net(self) -> str:
        """The student's network, without the folders of a Python file that it is from."""
        return python_file.short(self.card.net)

    @property
    def unfinished(self) -> str:
        """After which round of how many the student was saved, of a run that has not finished; else empty."""
        return "" if self.round == self.spec.rounds else f"after round {self.round} of {self.spec.rounds}"

    @property
    def is_dense(self) -> bool:
        """Whether the student labels every pixel."""
        return self.card.task == "segmentation"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the outputs: as the student's file or the teacher's data set has them, else their numbers."""
        data = str(self.manifest.get("teacher", {}).get("data", ""))
        return class_order.names_of(replace(self.card, data=data)) or self.student.class_names

    def labelled(self) -> Labelled:
        """What the teacher says of the synthetic images.

        Raises:
            SpecError: if the teacher is not to be had.
            RunError: if it is another one by now.
        """
        return synthetic.label(self.folder, self.spec, self.synthetic.images, self.trust_code)


def _checked(found: Teacher, state: dict[str, Any] | None) -> str:
    """What the student's weights were held against, in words.

    Raises:
        DamagedFile: if they are others.
    """
    if state is None:
        return f"nothing, for {CHECKPOINT} was removed"
    student.refuse_other_weights(found, state)
    return f"those in {CHECKPOINT}, bit for bit"
