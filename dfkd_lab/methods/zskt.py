"""ZSKT: Zero-shot Knowledge Transfer via Adversarial Belief Matching (Micaelli et al., NeurIPS 2019, arXiv:1905.09768).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class ZSKT:
    """A game: the generator seeks images on which the student's beliefs differ; the student matches them, and maps."""

    citation: ClassVar[str] = "Micaelli et al., NeurIPS 2019, arXiv:1905.09768"
    certainty: ClassVar[str] = "certain (authors' code)"
    caveat: ClassVar[str] = "Nothing but the game keeps the images near what the teacher knows."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 1600},
        "digits": {"rounds": 15, "z_dim": 64, "width": 16, "batch": 64, "cycles": 8, "attention": 10.0, "s_lr": 0.01},
        "cifar10": {},
        "cifar100": {},
    }

    gap: float = vocabulary.gap(1.0, "a KL, as a mean over classes too")
    attention: float = vocabulary.attention(250.0)
    z_dim: int = vocabulary.z_dim(100)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3, "along a cosine")
    s_lr: float = knob(2e-3, "learning rate of the student (Adam), along a cosine", low=0, high=1)
    s_steps: int = vocabulary.turn_steps(10, "on the same noise")
    batch: int = vocabulary.batch(128)
    cycles: int = vocabulary.cycles(50)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: the student's steps of a turn see the generator's last noise again; gradients clipped at 5.

        Differs: the teacher is asked anew at each of the student's steps (the answers are the same).
        """
        stages = lab.stages if self.attention else 0
        return Recipe(
            synthesizer=NoiseGenerator(
                lab.generator(self.z_dim, self.width, "bn"), self.batch, self.z_dim, lr=self.g_lr,
                clip=5.0, hold=True, fade=lab.rounds * self.cycles,
            ),
            terms={"gap": Weighted(self.gap / lab.classes, terms.against(terms.kl()))},
            student={
                "kd": Weighted(1 / lab.classes, terms.kl()),
                "attention": Weighted(self.attention, terms.attention(stages)),
            },
            memory=Live(),
            schedule=parts.game(
                self.s_steps, self.cycles, self.batch, self.s_lr, optimizer="adam", weight_decay=0.0, clip=5.0
            ),
        )  # fmt: skip
