"""CGDD: Conditional Generative Data-Free Knowledge Distillation (Yu et al., 2021-2022, arXiv:2112.15358).

Inferred: only the abstracts were available. Certain are the parts: a generator conditioned on preset labels and
trained with the teacher's knowledge; a student that learns from distillation, from the preset label and from the
teacher's attention maps (version 1, "based on Attention Transfer"); an adversarial framework of several losses
(versions 3 and 4). The formulas, weights, networks and the way of conditioning are our reading. Not a reproduction.

The paper reports relative accuracies of 99.63 % (CIFAR-10), 99.07 % (CIFAR-100) and 99.84 % (Caltech101), its own
measure, which we take to be the student's accuracy over the teacher's. They are the paper's figures, not ours.
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
class CGDD:
    """A generator of the class it is asked for; the student learns from teacher, label and attention maps."""

    citation: ClassVar[str] = "Yu et al., 2021-2022, arXiv:2112.15358"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 400},
        "digits": {"rounds": 24, "z_dim": 64, "width": 16, "batch": 64, "cycles": 25, "s_steps": 2, "g_lr": 5e-3,
                   "bn_gap": 3.0, "gap": 0.2, "attention": 50.0},
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    adversarial: bool = knob(True, "version 4: the generator also seeks what the student gets wrong; version 1 if off")
    label: float = vocabulary.label(1.0)
    bn_gap: float = vocabulary.bn_gap(1.0)
    gap: float = vocabulary.gap(0.5, "if adversarial")
    student_label: float = vocabulary.student_label(1.0)
    attention: float = vocabulary.attention(1000.0)
    temperature: float = vocabulary.temperature(4.0)
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(5, "1 in version 1")
    batch: int = vocabulary.batch(256)
    cycles: int = vocabulary.cycles(50)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots.

        Inferred: the noise is multiplied by an embedding of the label, the gap is an L1 of logits, the norms of bn_gap
        are not squared.
        """
        generator = lab.generator(self.z_dim, self.width, "tanh_bn", conditional=True)
        stages = lab.stages if self.attention else 0
        return Recipe(
            synthesizer=NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr, classes=lab.classes),
            terms={
                "label": Weighted(self.label, terms.label),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
                "gap": Weighted(self.gap if self.adversarial else 0.0, terms.against(terms.l1)),
            },
            student={
                "kd": Weighted(1.0, terms.kl(self.temperature)),
                "student_label": Weighted(self.student_label, terms.student_label),
                "attention": Weighted(self.attention, terms.attention(stages)),
            },
            memory=Live(),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr, student_mode="eval"),
        )
