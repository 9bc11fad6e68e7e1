"""DDAD: Dual Discriminator Adversarial Distillation (Zhao et al., 2021, arXiv:2104.05382).

Inferred: from the abstract; weights and schedule are a neighbour's public code for the same losses with one teacher.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.recipe import Lab, Recipe, Weighted


@dataclass(frozen=True)
class DDAD:
    """Two judges of one generator: the teacher by its batch-norm statistics, the student by its disagreement."""

    citation: ClassVar[str] = "Zhao et al., 2021, arXiv:2104.05382"
    certainty: ClassVar[str] = "inferred (abstract; a neighbour's code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 300},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8, "bn_gap": 1.0},
        "cifar10": {},
        "cifar100": {},
    }

    gap: float = vocabulary.gap(1.0, "an L1 distance")
    bn_gap: float = vocabulary.bn_gap(0.1, "lambda")
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(5)
    batch: int = vocabulary.batch(256)
    cycles: int = vocabulary.cycles(50)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots."""
        return Recipe(
            synthesizer=parts.noise_generator(lab, self.z_dim, self.width, self.batch, self.g_lr),
            terms={
                "gap": Weighted(self.gap, terms.against(terms.l1)),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
            },
            student={"l1": Weighted(1.0, terms.l1)},
            memory=Live(),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr),
        )
