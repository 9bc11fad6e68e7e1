"""DFAD: Data-Free Adversarial Distillation (Fang et al., 2019, arXiv:1912.11006).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.recipe import Lab, Recipe, Weighted


@dataclass(frozen=True)
class DFAD:
    """A game: the generator looks for images on which the student's logits differ from the teacher's."""

    citation: ClassVar[str] = "Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "certain (authors' code)"
    caveat: ClassVar[str] = "Nothing but the game keeps the images near what the teacher knows."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 500},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8},
        "cifar10": {},
        "cifar100": {},
    }

    gap: float = vocabulary.gap(1.0, "an L1 distance")
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(5)
    batch: int = vocabulary.batch(256)
    cycles: int = vocabulary.cycles(50)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: fresh noise for each player's step.

        Differs: the generator moves first in a turn, and both learning rates fall along a cosine, not in steps.
        """
        steps = lab.rounds * self.cycles
        return Recipe(
            synthesizer=parts.noise_generator(lab, self.z_dim, self.width, self.batch, self.g_lr, fade=steps),
            terms={"gap": Weighted(self.gap, terms.against(terms.l1))},
            student={"l1": Weighted(1.0, terms.l1)},
            memory=Live(),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr),
        )
