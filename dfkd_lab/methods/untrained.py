"""An untrained generator: distillation on its images, the control for what training the generator adds.

Inferred: no paper; the generator is that of DFAD (arXiv:1912.11006), and all settings are ours.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import Untrained


@dataclass(frozen=True)
class UntrainedGenerator:
    """The student imitates the teacher on images of a generator that is never trained."""

    citation: ClassVar[str] = "a control, with the generator of Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "inferred (a control)"
    caveat: ClassVar[str] = "Nobody tells the generator what the teacher knows, so its images are smooth noise."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40, "z_dim": 64, "width": 32},
        "small_gray": {"rounds": 40, "s_steps": 100, "z_dim": 100, "width": 16},
        "cifar": {"rounds": 200},
        "segmentation": {**recipes.DENSE_STUDENT, "temperature": 1.0, "z_dim": 64, "width": 32},
    }  # fmt: skip

    temperature: float = settings.temperature(4.0)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(391)
    batch: int = settings.batch(128)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: new noise through the same weights for every step."""
        generator = context.generator(self.z_dim, self.width, "tanh_bn")
        return Recipe(
            synthesizer=Untrained(generator, self.z_dim, self.batch),
            losses={},
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            memory=Live(),
            schedule=recipes.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
