"""The student alone: real images and their labels, no teacher.

The reference for what the student's network reaches by itself, a row of most tables since knowledge distillation
(Hinton et al., 2015, arXiv:1503.02531).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import FixedImages
from dfkd_lab.primitives.views import CropFlip


@dataclass(frozen=True)
class Alone:
    """The student learns the labels of real images, without the teacher."""

    citation: ClassVar[str] = "plain supervised training, as beside Hinton et al., 2015, arXiv:1503.02531"
    certainty: ClassVar[str] = "certain (settings are the usual ones)"
    reads_real_images: ClassVar[bool] = True
    learns_from_teacher: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40, "padding": 1, "flip": False},
        "small_gray": {"rounds": 40, "s_steps": 100, "padding": 2},
        "cifar": {"rounds": 200},
        "segmentation": {**recipes.DENSE_STUDENT, "padding": 0, "flip": False},
    }  # fmt: skip

    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(391)
    batch: int = settings.batch(128)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: nothing is synthesized."""
        return Recipe(
            synthesizer=FixedImages(self.batch),
            losses={},
            student_losses={"student_label": WeightedLoss(1.0, losses.student_label)},
            student_view=CropFlip(self.padding, self.flip),
            memory=Live(),
            schedule=recipes.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
