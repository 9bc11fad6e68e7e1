"""DDAD: Dual Discriminator Adversarial Distillation (Zhao et al., 2021, arXiv:2104.05382).

Inferred: from the abstract; the losses' forms, weights and schedule are a neighbour's public code (a baseline in that
of CDFKD-MFS), with one teacher.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live


@dataclass(frozen=True)
class DDAD:
    """Two judges of one generator: the teacher by its batch-norm statistics, the student by its disagreement."""

    citation: ClassVar[str] = "Zhao et al., 2021, arXiv:2104.05382"
    certainty: ClassVar[str] = "inferred (abstract; a neighbour's code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 300},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8, "bn_gap": 1.0,
                   "first_layer": 1.0, "decay": "cosine"},
        "small_gray": {"rounds": 60, "z_dim": 100, "width": 16, "batch": 128, "cycles": 20, "decay": "cosine"},
        "cifar": {},
    }  # fmt: skip

    gap: float = settings.gap(1.0, "an L1 distance")
    bn_gap: float = settings.bn_gap(0.1, "lambda")
    first_layer: float = settings.first_layer(5.0)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(1e-3)
    s_lr: float = settings.s_lr(0.1)
    decay: str = settings.decay("thirds", "for both players")
    s_steps: int = settings.turn_steps(5)
    batch: int = settings.batch(256)
    cycles: int = settings.cycles(50)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots."""
        return Recipe(
            synthesizer=recipes.dfad_generator(
                context, self.z_dim, self.width, self.batch, self.g_lr, self.cycles, self.decay
            ),
            losses={
                "gap": WeightedLoss(self.gap, losses.adversarial(losses.l1)),
                "bn_gap": WeightedLoss(self.bn_gap, losses.BatchNormGap(context.batch_norms, first=self.first_layer)),
            },
            student_losses={"l1": WeightedLoss(1.0, losses.l1)},
            memory=Live(),
            schedule=recipes.game_schedule(
                self.s_steps, self.cycles, self.batch, self.s_lr, milestones=recipes.dfad_steps(self.decay)
            ),
        )
