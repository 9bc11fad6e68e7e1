"""DAFL: Data-Free Learning of Student Networks (Chen et al., ICCV 2019, arXiv:1904.01186).

Certain for the authors' code; equation numbers were not checked against the paper.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.recipe import Lab, Recipe, Weighted


@dataclass(frozen=True)
class DAFL:
    """A generator whose images the teacher finds confident, active and evenly spread over the classes."""

    citation: ClassVar[str] = "Chen et al., ICCV 2019, arXiv:1904.01186"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 2000},
        "digits": {"rounds": 30, "z_dim": 64, "width": 16, "batch": 128, "cycles": 40, "confidence": 1.0,
                   "balance": 20.0, "g_lr": 5e-4},
        "cifar10": {},
        "cifar100": {"confidence": 0.5, "balance": 20.0, "activation": 0.1},
    }  # fmt: skip

    confidence: float = vocabulary.confidence(0.05, "a")
    balance: float = vocabulary.balance(5.0, "in base 10, b")
    activation: float = vocabulary.activation(0.01, "c")
    z_dim: int = vocabulary.z_dim(1000)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(0.02)
    s_lr: float = vocabulary.s_lr(0.1)
    batch: int = vocabulary.batch(1024)
    cycles: int = vocabulary.cycles(120, "which are joint steps")

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: generator and student step jointly on the same batch.

        Differs: the student's learning rate falls along a cosine, not in two steps.
        """
        return Recipe(
            synthesizer=parts.noise_generator(lab, self.z_dim, self.width, self.batch, self.g_lr),
            terms=parts.priors(self.confidence, self.balance, self.activation),
            student={"kd": Weighted(1.0, terms.kl())},
            memory=Live(shared=True),
            schedule=parts.game(1, self.cycles, self.batch, self.s_lr, student_mode="eval"),
        )
