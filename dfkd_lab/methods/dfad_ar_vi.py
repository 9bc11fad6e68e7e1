"""DFAD+AR+VI: Data-Free Adversarial Distillation with Activation Regularization and Virtual Interpolation (Qu et al.).

ICASSP 2021, arXiv:2102.11638. Inferred: of the paper only the abstract was available. The two additions to DFAD's game
are certain; both formulas are our reading, and the settings are DFAD's (arXiv:1912.11006).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Beta

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.observe import Observation, Observer
from dfkd_lab.primitives.terms import Function, needs
from dfkd_lab.recipe import Lab, Recipe, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class DFADARVI:
    """DFAD's game near the teacher's activation boundaries, and on images mixed of two."""

    citation: ClassVar[str] = "Qu et al., ICASSP 2021, arXiv:2102.11638"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    caveat: ClassVar[str] = "As in DFAD's game the student may lose late in a run what it had learned, and collapse."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 500},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 8, "near_boundary": 1.0},
        "cifar10": {},
        "cifar100": {},
    }

    gap: float = vocabulary.gap(1.0, "an L1 distance")
    near_boundary: float = knob(0.1, "weight of the teacher's absolute pre-activations", low=0, high=100)
    interpolation: float = knob(1.0, "weight of the student's L1 distance on mixed images", low=0, high=100)
    alpha: float = knob(1.0, "both parameters of the Beta distribution of the shares mixed", low=0.01, high=100)
    target: str = knob("label", "what the student imitates on a mixed image: the mixed predictions (label), or the "
                       "teacher's own (teacher)", choices=("label", "teacher"))  # fmt: skip
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(5)
    batch: int = vocabulary.batch(256)
    cycles: int = vocabulary.cycles(50)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: DFAD's, with one more term for each player."""
        steps = lab.rounds * self.cycles
        return Recipe(
            synthesizer=parts.noise_generator(lab, self.z_dim, self.width, self.batch, self.g_lr, fade=steps),
            terms={
                "gap": Weighted(self.gap, terms.against(terms.l1)),
                "near_boundary": Weighted(self.near_boundary, near_boundary(len(lab.norms))),
            },
            student={
                "l1": Weighted(1.0, terms.l1),
                "interpolation": Weighted(self.interpolation, Interpolation(lab.observer, self.alpha, self.target)),
            },
            memory=Live(),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr),
        )


def near_boundary(layers: int) -> Function:
    """Mean absolute pre-activation [N] of the teacher, summed over its batch-norm layers: 0 on every boundary at once.

    Inferred: the paper's regularizer might as well compare the student's side of the boundaries with the teacher's.
    """

    @needs("preactivations")
    def distance(seen: Observation) -> Tensor:
        assert len(seen.preactivations) == layers
        return torch.stack([each.abs().flatten(1).mean(1) for each in seen.preactivations]).sum(0)

    return distance


class Interpolation:
    """L1 distance [N] of the student's logits on each image mixed with another of the batch.

    The share mixed is from Beta(``alpha``, ``alpha``), one per image. The ``target`` "label" mixes the teacher's logits
    likewise; "teacher" asks the teacher about the mixed image.
    """

    def __init__(self, observer: Observer, alpha: float, target: str):
        self.observer, self.alpha, self.target = observer, alpha, target

    def __call__(self, seen: Observation) -> Tensor:
        n, device = len(seen.images), seen.images.device
        alpha = torch.full((n, 1), self.alpha, device=device)
        share, other = Beta(alpha, alpha, validate_args=False).sample(), torch.randperm(n, device=device)
        images = torch.lerp(seen.images[other], seen.images, share.view(n, 1, 1, 1))
        mixed_logits = torch.lerp(seen.logits[other], seen.logits, share)
        logits = mixed_logits if self.target == "label" else self.observer(images).logits
        return terms.l1(Observation(images, logits, student=self.observer.student(images)))
