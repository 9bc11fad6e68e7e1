"""ZSKT: Zero-shot Knowledge Transfer via Adversarial Belief Matching (Micaelli et al., NeurIPS 2019, arXiv:1905.09768).

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
class ZSKT:
    """A game: the generator seeks images on which the student's beliefs differ; the student matches them, and maps."""

    citation: ClassVar[str] = "Micaelli et al., NeurIPS 2019, arXiv:1905.09768"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 1600},
        "digits": {"rounds": 15, "z_dim": 64, "width": 16, "batch": 64, "cycles": 8, "attention": 10.0, "s_lr": 0.01},
    }

    gap: float = knob(1.0, "weight of the KL the generator seeks, a mean over classes too", low=0, high=1000)
    attention: float = knob(250.0, "weight of the student's attention transfer, 0 for any net", low=0, high=1e5)
    z_dim: int = knob(100, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(1e-3, "learning rate of the generator (Adam), cosine to 0", low=0, high=1)
    s_lr: float = knob(2e-3, "learning rate of the student (Adam), cosine to 0", low=0, high=1)
    s_steps: int = knob(10, "student steps for one generator step, on the same noise", low=1, high=1000, unit="steps")
    batch: int = knob(128, "images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(50, "turns of the game in a round", low=1, high=10_000)

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
            schedule=Schedule(
                g_steps=1,
                s_steps=self.s_steps,
                cycles=self.cycles,
                batch=self.batch,
                s_lr=self.s_lr,
                optimizer="adam",
                weight_decay=0.0,
                clip=5.0,
                student_mode="train",
            ),
        )  # fmt: skip
