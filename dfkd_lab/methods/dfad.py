"""DFAD: Data-Free Adversarial Distillation (Fang et al., 2019, arXiv:1912.11006).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class DFAD:
    """A game: the generator looks for images on which the student's logits differ from the teacher's."""

    citation: ClassVar[str] = "Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 500},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8},
    }

    gap: float = knob(1.0, "weight of the L1 distance the generator seeks", low=0, high=100)
    z_dim: int = knob(256, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(1e-3, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(5, "student steps for one generator step", low=1, high=1000, unit="steps")
    batch: int = knob(256, "images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(50, "turns of the game in a round", low=1, high=10_000)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: fresh noise for each player's step.

        Differs: the generator moves first in a turn, and the student's learning rate falls along a cosine.
        """
        generator = lab.generator(self.z_dim, self.width, "tanh_bn")
        return Recipe(
            synthesizer=NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr),
            terms={"gap": Weighted(self.gap, terms.against(terms.l1))},
            student={"l1": Weighted(1.0, terms.l1)},
            memory=Live(),
            schedule=Schedule(
                g_steps=1,
                s_steps=self.s_steps,
                cycles=self.cycles,
                batch=self.batch,
                s_lr=self.s_lr,
                weight_decay=5e-4,
                student_mode="train",
            ),
        )
