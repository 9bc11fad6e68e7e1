"""CGDD: Conditional Generative Data-Free Knowledge Distillation (Yu et al., 2021-2022, arXiv:2112.15358).

Inferred: only the abstracts were available. Certain are the parts: a generator conditioned on preset labels and
trained with the teacher's knowledge; a student that learns from distillation, from the preset label and from the
teacher's attention maps (version 1, "based on Attention Transfer"); an adversarial framework of several losses
(versions 3 and 4). Second-hand: the generator is trained "semi-supervised" with the preset labels, and the student
takes the teacher's feature maps. Ours: every formula and weight, the networks, the way of conditioning, ``bn_gap`` as a
whole, one L1 for the "several" adversarial losses. Not a reproduction.

The paper reports relative accuracies of 99.63 % (CIFAR-10), 99.07 % (CIFAR-100) and 99.84 % (Caltech101), its own
measure, which we take to be the student's accuracy over the teacher's. They are the paper's figures, not ours.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import Live
from dfkd_lab.primitives.synthesizers import NoiseGenerator
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class CGDD:
    """A generator of images of the target class; the student learns from teacher, label and attention maps."""

    citation: ClassVar[str] = "Yu et al., 2021-2022, arXiv:2112.15358"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 400},
        "digits": {"rounds": 24, "z_dim": 64, "width": 16, "batch": 64, "cycles": 25, "s_steps": 2, "g_lr": 5e-3,
                   "bn_gap": 3.0, "gap": 0.2, "attention": 50.0},
        "small_gray": {"rounds": 60, "z_dim": 100, "width": 16, "batch": 128, "cycles": 25, "s_steps": 4,
                       "attention": 50.0},
        "cifar": {},
    }  # fmt: skip

    adversarial: bool = setting(
        True, "version 4: the generator also seeks what the student gets wrong; version 1 if off"
    )
    label: float = settings.label(1.0)
    bn_gap: float = settings.bn_gap(1.0)
    gap: float = settings.gap(0.5, "if adversarial", of="adversarial")
    student_label: float = settings.student_label(1.0)
    attention: float = settings.attention(1000.0)
    temperature: float = settings.temperature(4.0)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(1e-3)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.turn_steps(5, "1 in version 1")
    batch: int = settings.batch(256)
    cycles: int = settings.cycles(50)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots.

        Inferred: the noise is multiplied by an embedding of the label, the gap is an L1 of logits, the norms of bn_gap
        are not squared.
        """
        generator = context.generator(self.z_dim, self.width, "tanh_bn", conditional=True)
        stages = context.stages if self.attention else 0
        return Recipe(
            synthesizer=NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr, classes=context.classes),
            losses={
                "label": WeightedLoss(self.label, losses.label),
                "bn_gap": WeightedLoss(self.bn_gap, losses.BatchNormGap(context.batch_norms)),
                "gap": WeightedLoss(self.gap if self.adversarial else 0.0, losses.adversarial(losses.l1)),
            },
            student_losses={
                "kd": WeightedLoss(1.0, losses.kl(self.temperature)),
                "student_label": WeightedLoss(self.student_label, losses.student_label),
                "attention": WeightedLoss(self.attention, losses.attention(stages)),
            },
            memory=Live(),
            schedule=recipes.game_schedule(self.s_steps, self.cycles, self.batch, self.s_lr, student_mode="eval"),
        )
