"""Noise: distillation on random pixels, the control for what a method's images add (a row in arXiv:1912.11006).

Inferred: the tables say "noise" and no more; the distributions and all settings are ours.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import NoisePixels
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class Noise:
    """The student imitates the teacher on random pixels."""

    citation: ClassVar[str] = "baseline of Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "inferred (a control)"
    caveat: ClassVar[str] = "The teacher says little about pixels without structure, so there is little to imitate."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40},
        "small_gray": {"rounds": 40, "s_steps": 100},
        "cifar": {"rounds": 200},
        "segmentation": {**recipes.DENSE_STUDENT, "temperature": 1.0},
    }  # fmt: skip

    pixels: str = setting("gaussian", "distribution of the pixels, with the mean and deviation of the teacher's "
                       "normalization", choices=("gaussian", "uniform"))  # fmt: skip
    temperature: float = settings.temperature(4.0)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(391)
    batch: int = settings.batch(128)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: new noise for every step, nothing of it learned."""
        return Recipe(
            synthesizer=NoisePixels(context.shape, context.mean, context.std, self.batch, self.pixels),
            losses={},
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            memory=Live(),
            schedule=recipes.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
