"""DFAD: Data-Free Adversarial Distillation (Fang et al., 2019, arXiv:1912.11006).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.nets.initialization import kaiming
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.losses import needs
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.observer import Observation


@dataclass(frozen=True)
class DFAD:
    """A game: the generator looks for images on which the student's logits differ from the teacher's."""

    citation: ClassVar[str] = "Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "certain (authors' code)"
    labels_pixels: ClassVar[bool] = True
    caveat: ClassVar[str] = "Nothing but the game keeps the images near what the teacher knows."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 500},
        "imagenet": {"rounds": 300, "batch": 64, "s_lr": 0.05, "generator": "dcgan", "decay": "thirds"},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8, "decay": "cosine"},
        "small_gray": {"rounds": 40, "z_dim": 100, "batch": 512, "optimizer": "sgd", "s_lr": 0.01, "weight_decay": 1e-4,
                       "decay": "none"},
        "cifar": {},
        "segmentation": {"rounds": 300, "batch": 64, "generator": "dcgan", "decay": "thirds"},
    }  # fmt: skip

    gap: float = settings.gap(1.0, "an L1 distance")
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(1e-3)
    s_lr: float = settings.s_lr(0.1)
    weight_decay: float = settings.weight_decay(5e-4)
    decay: str = settings.decay("steps", "for both players")
    s_steps: int = settings.turn_steps(5)
    batch: int = settings.batch(256)
    cycles: int = settings.cycles(50)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: fresh noise for each player's step; a ResNet-18, -34 or -50 starts by Kaiming's.

        Where every pixel has a class, the generator's loss is -log(1 + D).

        Differs: the generator moves first in a turn, because a round here is synthesis, then distillation; over a run
        that is one more step of it, before the student's first. MNIST's images have their own 28 pixels, which LeNet-5
        pads, where the authors make them 32.
        """
        gap = log_gap if context.pixel_classes else losses.adversarial(losses.l1)
        return Recipe(
            synthesizer=recipes.dfad_generator(
                context, self.z_dim, self.width, self.batch, self.g_lr, self.cycles, self.decay
            ),
            losses={"gap": WeightedLoss(self.gap, gap)},
            student_losses={"l1": WeightedLoss(1.0, losses.l1)},
            memory=Live(),
            schedule=recipes.game_schedule(
                self.s_steps,
                self.cycles,
                self.batch,
                self.s_lr,
                weight_decay=self.weight_decay,
                milestones=recipes.dfad_steps(self.decay),
            ),
            initialize_student=kaiming,
        )


@needs("student")
def log_gap(observation: Observation) -> Tensor:
    """-log(1 + D), D the L1 distance of the batch's logits: the generator's loss in segmentation, a scalar."""
    return -torch.log1p(losses.l1(observation).mean())
