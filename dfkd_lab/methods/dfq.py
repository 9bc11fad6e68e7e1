"""DFQ: Data-Free Network Quantization With Adversarial Knowledge Distillation (Choi et al., arXiv:2005.04136).

Inferred: the losses are those of a third-party copy and of the CMI toolbox; neither authors' code nor the paper's text
was available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import NoiseGenerator


@dataclass(frozen=True)
class DFQ:
    """The adversarial game, kept near the teacher's data: batch-norm statistics, confidence, balanced batches."""

    citation: ClassVar[str] = "Choi et al., CVPRW 2020, arXiv:2005.04136"
    certainty: ClassVar[str] = "inferred (third-party code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "cycles": 5, "s_steps": 8},
        "small_gray": {"rounds": 60, "z_dim": 100, "width": 16, "batch": 128, "cycles": 10},
        "cifar": {},
        "cifar100": {},
    }  # fmt: skip
    by_teacher: ClassVar[dict[str, dict[str, Any]]] = {"resnet34": {"s_lr": 0.05}}

    gap: float = settings.gap(1.0, "a KL")
    bn_gap: float = settings.bn_gap(1.0)
    confidence: float = settings.confidence(1.0)
    balance: float = settings.balance(20.0, "in nats")
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(1e-3)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.turn_steps(10)
    batch: int = settings.batch(256)
    cycles: int = settings.cycles(40)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots with the toolbox's weights and its un-squared batch-norm distance; no warm-up."""
        generator = context.generator(self.z_dim, self.width)
        return Recipe(
            synthesizer=NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr, betas=(0.5, 0.999)),
            losses={
                "gap": WeightedLoss(self.gap, losses.adversarial(losses.kl())),
                "bn_gap": WeightedLoss(self.bn_gap, losses.BatchNormGap(context.batch_norms)),
                "confidence": WeightedLoss(self.confidence, losses.confidence),
                "balance": WeightedLoss(self.balance, losses.balance()),
            },
            student_losses={"kd": WeightedLoss(1.0, losses.kl())},
            memory=Live(),
            schedule=recipes.game_schedule(
                self.s_steps, self.cycles, self.batch, self.s_lr, weight_decay=1e-4, student_mode="eval"
            ),
        )
