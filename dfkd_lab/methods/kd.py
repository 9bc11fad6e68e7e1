"""KD: Distilling the Knowledge in a Neural Network (Hinton et al., 2015, arXiv:1503.02531).

The reference that data-free methods are measured against: it reads real images, all of them or a few.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import FixedImages
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class KD:
    """The student imitates the teacher's softened predictions on real images."""

    citation: ClassVar[str] = "Hinton et al., 2015, arXiv:1503.02531"
    certainty: ClassVar[str] = "certain (the loss; settings are the usual ones)"
    reads_real_images: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40, "padding": 1, "flip": False},
        "small_gray": {"rounds": 40, "s_steps": 100, "padding": 2},
        "cifar": {"rounds": 200},
        "segmentation": {**recipes.DENSE_STUDENT, "temperature": 1.0, "padding": 0, "flip": False},
    }  # fmt: skip

    images: int = setting(0, "real images to learn from, as many of each class; 0, or more than there are, takes all",
                       low=0, high=10_000_000, unit="images")  # fmt: skip
    temperature: float = settings.temperature(4.0)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(391)
    batch: int = settings.batch(128)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: nothing is synthesized.

        Differs: the paper adds a small cross entropy to the true labels, which is left out, so that the student knows
        of the images what data-free students know of theirs; images are drawn with replacement, not by epochs.
        """
        return Recipe(
            synthesizer=FixedImages(self.batch, self.images),
            losses={},
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            student_view=CropFlip(self.padding, self.flip),
            memory=Live(),
            schedule=recipes.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
