"""DFQ: Data-Free Network Quantization With Adversarial Knowledge Distillation (Choi et al., arXiv:2005.04136).

Inferred: the losses are those of a third-party copy and of the CMI toolbox; neither authors' code nor the paper's text
was available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Weighted


@dataclass(frozen=True)
class DFQ:
    """The adversarial game, kept near the teacher's data: batch-norm statistics, confidence, balanced batches."""

    citation: ClassVar[str] = "Choi et al., CVPRW 2020, arXiv:2005.04136"
    certainty: ClassVar[str] = "inferred (third-party code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 5, "s_steps": 8},
        "cifar10": {},
        "cifar100": {"s_lr": 0.05},
    }

    gap: float = vocabulary.gap(1.0, "a KL")
    bn_gap: float = vocabulary.bn_gap(1.0)
    confidence: float = vocabulary.confidence(1.0)
    balance: float = vocabulary.balance(20.0, "in nats")
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(10)
    batch: int = vocabulary.batch(256)
    cycles: int = vocabulary.cycles(40)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots with the toolbox's weights and its un-squared batch-norm distance; no warm-up."""
        generator = lab.generator(self.z_dim, self.width)
        return Recipe(
            synthesizer=NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr, betas=(0.5, 0.999)),
            terms={
                "gap": Weighted(self.gap, terms.against(terms.kl())),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
                "confidence": Weighted(self.confidence, terms.confidence),
                "balance": Weighted(self.balance, terms.balance()),
            },
            student={"kd": Weighted(1.0, terms.kl())},
            memory=Live(),
            schedule=parts.game(
                self.s_steps, self.cycles, self.batch, self.s_lr, weight_decay=1e-4, student_mode="eval"
            ),
        )
