"""ZSKT: Zero-shot Knowledge Transfer via Adversarial Belief Matching (Micaelli et al., NeurIPS 2019, arXiv:1905.09768).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.engine.schedules import cosine
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import NoiseGenerator
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class ZSKT:
    """A game: the generator seeks images on which the student's beliefs differ; the student matches them, and maps."""

    citation: ClassVar[str] = "Micaelli et al., NeurIPS 2019, arXiv:1905.09768"
    certainty: ClassVar[str] = "certain (authors' code)"
    optimizer: ClassVar[str] = "adam"
    caveat: ClassVar[str] = "Nothing but the game keeps the images near what the teacher knows."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 1600},
        "digits": {"rounds": 15, "z_dim": 64, "width": 16, "batch": 64, "cycles": 8, "attention": 10.0, "s_lr": 0.01},
        "small_gray": {"rounds": 60, "width": 16, "cycles": 10, "attention": 10.0},
        "cifar": {},
    }  # fmt: skip

    gap: float = settings.gap(1.0, "a KL, as a mean over classes too")
    attention: float = settings.attention(250.0)
    z_dim: int = settings.z_dim(100)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(1e-3, "along a cosine")
    s_lr: float = setting(2e-3, "learning rate of the student (Adam), along a cosine", low=0, high=1)
    s_steps: int = settings.turn_steps(10, "on the same noise")
    batch: int = settings.batch(128)
    cycles: int = settings.cycles(50)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: the student's steps of a turn see the generator's last noise again; gradients clipped at 5.

        Differs: the teacher is run anew at each of the student's steps (the answers are the same); the student's
        learning rate falls step by step, not once a turn.
        """
        stages = context.stages if self.attention else 0
        return Recipe(
            synthesizer=NoiseGenerator(
                context.generator(self.z_dim, self.width, "bn"), self.batch, self.z_dim, lr=self.g_lr,
                clip=5.0, hold=True,
                fade=context.rounds * self.cycles, rate=partial(cosine, start=self.g_lr, floor=0.0),
            ),
            losses={"gap": WeightedLoss(self.gap / context.classes, losses.adversarial(losses.kl()))},
            student_losses={
                "kd": WeightedLoss(1 / context.classes, losses.kl()),
                "attention": WeightedLoss(self.attention, losses.attention(stages)),
            },
            memory=Live(),
            schedule=recipes.game_schedule(
                self.s_steps, self.cycles, self.batch, self.s_lr, optimizer="adam", weight_decay=0.0, clip=5.0
            ),
        )  # fmt: skip
