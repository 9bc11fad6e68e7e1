"""DDAD: Dual Discriminator Adversarial Distillation (Zhao et al., 2021, arXiv:2104.05382).

Inferred: from the abstract; weights and schedule are a neighbour's public code for the same losses with one teacher.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class DDAD:
    """Two judges of one generator: the teacher by its batch-norm statistics, the student by its disagreement."""

    citation: ClassVar[str] = "Zhao et al., 2021, arXiv:2104.05382"
    certainty: ClassVar[str] = "inferred (abstract; a neighbour's code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 300},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8, "bn_gap": 1.0},
    }

    gap: float = knob(1.0, "weight of the L1 distance the generator seeks", low=0, high=100)
    bn_gap: float = knob(0.1, "weight of the batch-norm statistics, lambda", low=0, high=1000)
    z_dim: int = knob(256, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(1e-3, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(5, "student steps for one generator step", low=1, high=1000, unit="steps")
    batch: int = knob(256, "images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(50, "turns of the game in a round", low=1, high=10_000)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots."""
        generator = lab.generator(self.z_dim, self.width, "tanh_bn")
        return Recipe(
            synthesizer=NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr),
            terms={
                "gap": Weighted(self.gap, terms.against(terms.l1)),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
            },
            student={"l1": Weighted(1.0, terms.l1)},
            memory=Live(),
            schedule=Schedule(
                g_steps=1, s_steps=self.s_steps, cycles=self.cycles, batch=self.batch, s_lr=self.s_lr,
                weight_decay=5e-4, student_mode="train",
            ),
        )  # fmt: skip
