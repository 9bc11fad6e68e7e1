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

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
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
    }  # fmt: skip

    adversarial: bool = knob(True, "version 4: the generator also seeks what the student gets wrong; version 1 if off")
    label: float = knob(1.0, "weight of the teacher's cross entropy to the label asked for", low=0, high=100)
    bn_gap: float = knob(1.0, "weight of the batch-norm statistics", low=0, high=1000)
    gap: float = knob(0.5, "weight of the adversarial term, if adversarial", low=0, high=100)
    student_label: float = knob(1.0, "weight of the student's cross entropy to the label asked for", low=0, high=100)
    attention: float = knob(1000.0, "weight of the student's attention transfer, 0 for any net", low=0, high=1e5)
    temperature: float = knob(4.0, "temperature of distillation", low=0.1, high=100)
    z_dim: int = knob(256, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(1e-3, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(5, "student steps for one generator step; 1 in version 1", low=1, high=1000, unit="steps")
    batch: int = knob(256, "images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(50, "turns of generator and student in a round", low=1, high=10_000)

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
            schedule=Schedule(
                g_steps=1,
                s_steps=self.s_steps,
                cycles=self.cycles,
                batch=self.batch,
                s_lr=self.s_lr,
                weight_decay=5e-4,
            ),
        )
