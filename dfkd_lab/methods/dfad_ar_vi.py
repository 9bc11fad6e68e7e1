"""DFAD+AR+VI: Data-Free Adversarial Distillation with Activation Regularization and Virtual Interpolation (Qu et al.).

ICASSP 2021, arXiv:2102.11638. Inferred: of the paper only the abstract was available. The two additions to DFAD's game
are certain; both formulas are our reading, and the settings are DFAD's (arXiv:1912.11006).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Beta

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.losses import LossFunction, needs
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.observer import Observation, Observer
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class DFADARVI:
    """DFAD's game near the teacher's activation boundaries, and on images mixed of two."""

    citation: ClassVar[str] = "Qu et al., ICASSP 2021, arXiv:2102.11638"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    caveat: ClassVar[str] = "As in DFAD's game the student may lose late in a run what it had learned, and collapse."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 500},
        "digits": {
            "rounds": 30,
            "z_dim": 64,
            "width": 32,
            "batch": 128,
            "cycles": 8,
            "near_boundary": 1.0,
            "decay": "cosine",
        },
        "small_gray": {"rounds": 40, "z_dim": 100, "batch": 512, "s_lr": 0.01, "decay": "none"},
        "cifar": {},
    }  # fmt: skip

    gap: float = settings.gap(1.0, "an L1 distance")
    near_boundary: float = setting(0.1, "weight of the teacher's absolute pre-activations", low=0, high=100)
    interpolation: float = setting(1.0, "weight of the student's L1 distance on mixed images", low=0, high=100)
    alpha: float = setting(1.0, "parameter of the shares' Beta(alpha, alpha)", low=0.01, high=100, of="interpolation")
    target: str = setting("label", "what the student imitates on a mixed image: the mixed predictions (label), or the "
                       "teacher's own (teacher)", choices=("label", "teacher"), of="interpolation")  # fmt: skip
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
        """Fill the slots: DFAD's, with one more loss for each player."""
        return Recipe(
            synthesizer=recipes.dfad_generator(
                context, self.z_dim, self.width, self.batch, self.g_lr, self.cycles, self.decay
            ),
            losses={
                "gap": WeightedLoss(self.gap, losses.adversarial(losses.l1)),
                "near_boundary": WeightedLoss(self.near_boundary, near_boundary(len(context.batch_norms))),
            },
            student_losses={
                "l1": WeightedLoss(1.0, losses.l1),
                "interpolation": WeightedLoss(
                    self.interpolation, Interpolation(context.observer, self.alpha, self.target)
                ),
            },
            memory=Live(),
            schedule=recipes.game_schedule(
                self.s_steps,
                self.cycles,
                self.batch,
                self.s_lr,
                weight_decay=self.weight_decay,
                milestones=recipes.dfad_steps(self.decay),
            ),
        )


def near_boundary(layers: int) -> LossFunction:
    """Mean absolute pre-activation [N] of the teacher, summed over its batch-norm layers: 0 on every boundary at once.

    Inferred: the paper's regularizer might as well compare the student's side of the boundaries with the teacher's.
    """

    @needs("preactivations")
    def distance(observation: Observation) -> Tensor:
        assert len(observation.preactivations) == layers
        return torch.stack([each.abs().flatten(1).mean(1) for each in observation.preactivations]).sum(0)

    return distance


class Interpolation:
    """L1 distance [N] of the student's logits on each image mixed with another of the batch.

    The share mixed is from Beta(``alpha``, ``alpha``), one per image. The ``target`` "label" mixes the teacher's logits
    likewise; "teacher" runs the teacher on the mixed image.
    """

    def __init__(self, observer: Observer, alpha: float, target: str):
        self.observer, self.alpha, self.target = observer, alpha, target

    def __call__(self, observation: Observation) -> Tensor:
        images, logits, n = observation.images, observation.logits, len(observation.images)
        alpha = torch.full((n, 1), self.alpha, device=images.device)
        share, other = Beta(alpha, alpha, validate_args=False).sample(), torch.randperm(n, device=images.device)
        pairs = ((each[other], each, share.view(n, *(each.ndim - 1) * (1,))) for each in (images, logits))
        mixed, both = (torch.lerp(*each) for each in pairs)
        target = both if self.target == "label" else self.observer(mixed).logits
        return losses.l1(Observation(mixed, target, student=self.observer.student(mixed)))
