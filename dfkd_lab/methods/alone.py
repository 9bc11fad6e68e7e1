"""The student alone: real images and their labels, no teacher.

The reference for what the student's network reaches by itself, a row of most tables since knowledge distillation
(Hinton et al., 2015, arXiv:1503.02531).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.sources import Given
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Weighted


@dataclass(frozen=True)
class Alone:
    """The student learns the labels of real images, without the teacher."""

    citation: ClassVar[str] = "plain supervised training, as beside Hinton et al., 2015, arXiv:1503.02531"
    certainty: ClassVar[str] = "certain (settings are the usual ones)"
    reads_real_images: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40, "padding": 1, "flip": False},
        "cifar10": {"rounds": 200},
        "cifar100": {"rounds": 200},
    }

    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(391)
    batch: int = vocabulary.batch(128)
    padding: int = vocabulary.padding(4)
    flip: bool = vocabulary.flip(True)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: nothing is synthesized."""
        real = lab.real
        assert real.labels is not None
        return Recipe(
            synthesizer=Given(real.images, real.labels, self.batch),
            terms={},
            student={"student_label": Weighted(1.0, terms.student_label)},
            student_view=CropFlip(self.padding, self.flip),
            memory=Live(),
            schedule=parts.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
