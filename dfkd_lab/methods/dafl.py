"""DAFL: Data-Free Learning of Student Networks (Chen et al., ICCV 2019, arXiv:1904.01186).

Certain for the authors' code; equation numbers were not checked against the paper.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live


@dataclass(frozen=True)
class DAFL:
    """A generator whose images the teacher finds confident, active and evenly spread over the classes."""

    citation: ClassVar[str] = "Chen et al., ICCV 2019, arXiv:1904.01186"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 2000},
        "digits": {"rounds": 30, "z_dim": 64, "width": 16, "batch": 128, "cycles": 40, "confidence": 1.0,
                   "balance": 20.0, "g_lr": 5e-4, "decay": "cosine"},
        "small_gray": {"rounds": 200, "z_dim": 100, "batch": 512, "confidence": 1.0, "balance": 5.0, "activation": 0.1,
                       "g_lr": 0.2, "optimizer": "adam", "s_lr": 2e-3, "decay": "none"},
        "cifar": {},
        "segmentation": {"rounds": 60, "z_dim": 64, "width": 32, "batch": 32, "cycles": 15, "confidence": 0.5,
                         "balance": 11.5, "activation": 0.0, "g_lr": 3e-3, "optimizer": "adam", "s_lr": 5e-3},
        "cifar100": {"confidence": 0.5, "balance": 20.0, "activation": 0.1},
    }  # fmt: skip

    confidence: float = settings.confidence(0.05, "a")
    balance: float = settings.balance(5.0, "in base 10, b")
    activation: float = settings.activation(0.01, "c")
    z_dim: int = settings.z_dim(1000)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(0.02)
    s_lr: float = settings.s_lr(0.1)
    decay: str = settings.decay("steps", "at 40 % and 80 % of the run, for the student alone")
    batch: int = settings.batch(1024)
    cycles: int = settings.cycles(120, "which are joint steps")

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: generator and student step jointly on the same batch.

        Inner batch norms of the generator have 0.8 as their eps, as in the authors' code.

        Differs: MNIST's images have their own 28 pixels, which LeNet-5 pads, where the authors make them 32.
        """
        steps = recipes.milestones(self.decay, 0.4, 0.8)
        return Recipe(
            synthesizer=recipes.noise_generator(context, self.z_dim, self.width, self.batch, self.g_lr, eps=0.8),
            losses=recipes.dafl_losses(self.confidence, self.balance, self.activation),
            student_losses={"kd": WeightedLoss(1.0, losses.kl())},
            memory=Live(shared=True),
            schedule=recipes.game_schedule(
                1, self.cycles, self.batch, self.s_lr, student_mode="eval", milestones=steps
            ),
        )
