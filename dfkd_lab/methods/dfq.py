"""DFQ: Data-Free Network Quantization With Adversarial Knowledge Distillation (Choi et al., arXiv:2005.04136).

Inferred: the losses are those of a third-party copy and of the CMI toolbox; neither authors' code nor the paper's text
was available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class DFQ:
    """The adversarial game, kept near the teacher's data: batch-norm statistics, confidence, balanced batches."""

    citation: ClassVar[str] = "Choi et al., CVPRW 2020, arXiv:2005.04136"
    certainty: ClassVar[str] = "inferred (third-party code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 5, "s_steps": 8},
    }

    gap: float = knob(1.0, "weight of the divergence the generator seeks", low=0, high=100)
    bn_gap: float = knob(1.0, "weight of the batch-norm statistics", low=0, high=1000)
    confidence: float = knob(1.0, "weight of the one-hot loss", low=0, high=100)
    balance: float = knob(20.0, "weight of the negative batch entropy in nats", low=0, high=1000)
    z_dim: int = knob(256, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(1e-3, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(10, "student steps for one generator step", low=1, high=1000, unit="steps")
    batch: int = knob(256, "images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(40, "turns of the game in a round", low=1, high=10_000)

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
            schedule=Schedule(g_steps=1, s_steps=self.s_steps, cycles=self.cycles, batch=self.batch, s_lr=self.s_lr),
        )
