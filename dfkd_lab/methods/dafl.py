"""DAFL: Data-Free Learning of Student Networks (Chen et al., ICCV 2019, arXiv:1904.01186).

Certain for the authors' code; equation numbers were not checked against the paper.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class DAFL:
    """A generator whose images the teacher finds confident, active and evenly spread over the classes."""

    citation: ClassVar[str] = "Chen et al., ICCV 2019, arXiv:1904.01186"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 2000},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 40, "activation": 0.1, 
                   "confidence": 1.0, "g_lr": 2e-3, "s_lr": 0.1},
        "cifar100": {"confidence": 0.5, "balance": 20.0, "activation": 0.1},
    }  # fmt: skip

    confidence: float = knob(0.05, "weight of the one-hot loss, a", low=0, high=100)
    balance: float = knob(5.0, "weight of the negative batch entropy in base 10, b", low=0, high=100)
    activation: float = knob(0.01, "weight of the feature activation, c", low=0, high=100)
    z_dim: int = knob(1000, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(0.02, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    batch: int = knob(1024, "images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(120, "joint steps of generator and student in a round", low=1, high=10_000, unit="steps")

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: generator and student step jointly on the same batch.

        Differs: the student's learning rate falls along a cosine, not in two steps.
        """
        return Recipe(
            synthesizer=NoiseGenerator(
                lab.generator(self.z_dim, self.width, "tanh_bn"), self.batch, self.z_dim, lr=self.g_lr
            ),
            terms={
                "confidence": Weighted(self.confidence, terms.confidence),
                "balance": Weighted(self.balance, terms.balance(base=10)),
                "activation": Weighted(self.activation, terms.activation),
            },
            student={"kd": Weighted(1.0, terms.kl())},
            memory=Live(shared=True),
            schedule=Schedule(
                g_steps=1, s_steps=1, cycles=self.cycles, batch=self.batch, s_lr=self.s_lr, weight_decay=5e-4
            ),
        )
