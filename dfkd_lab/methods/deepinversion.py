"""DeepInversion and Adaptive DeepInversion (Yin et al., CVPR 2020, arXiv:1912.08795).

Certain for the authors' code; knowledge distillation on the growing pool follows the CMI toolbox, because the authors'
CIFAR script has none.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import ImageRing
from dfkd_lab.primitives.synthesis import Pixels
from dfkd_lab.primitives.views import CropFlip, Roll
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class DeepInversion:
    """Pixels optimized until the teacher sees the class asked for, with the statistics its batch norms remember."""

    citation: ClassVar[str] = "Yin et al., CVPR 2020, arXiv:1912.08795"
    certainty: ClassVar[str] = "certain (authors' code; distillation from the CMI toolbox)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "g_steps": 60, "s_steps": 40, "batch": 128, "capacity": 4000, "jitter": 1,
                   "flip": False, "padding": 1, "temperature": 4.0},
    }  # fmt: skip

    label: float = knob(1.0, "weight of the cross entropy to the label asked for", low=0, high=100)
    bn_gap: float = knob(10.0, "weight of the batch-norm statistics, alpha_f", low=0, high=1000)
    total_variation: float = knob(2.5e-5, "weight of the total variation, alpha_tv", low=0, high=10)
    l2: float = knob(0.0, "weight of the L2 prior, alpha_l2", low=0, high=10)
    gap: float = knob(1.0, "weight of the teacher-student divergence (Adaptive DeepInversion), alpha_c", low=0, high=10)
    g_lr: float = knob(0.1, "learning rate of the pixels (Adam)", low=0, high=10)
    g_steps: int = knob(1000, "steps on a batch of pixels", low=1, high=100_000, unit="steps")
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(400, "student steps a round", low=1, high=100_000, unit="steps")
    batch: int = knob(256, "images a round, and images a student step", low=2, high=65_536, unit="images")
    capacity: int = knob(51_200, "images the pool holds", low=2, high=10_000_000, unit="images")
    temperature: float = knob(20.0, "temperature of distillation", low=0.1, high=100)
    jitter: int = knob(2, "largest roll of the images during inversion", low=0, high=64, unit="pixels")
    padding: int = knob(4, "padding of the random crop during distillation", low=0, high=64, unit="pixels")
    flip: bool = knob(True, "mirror half of the images; wrong for digits")

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots. Differs: the pool is a ring; the divergence is the true JS, not the code's clamped one."""
        return Recipe(
            synthesizer=Pixels(self.batch, lab.shape, lab.classes, lab.mean, lab.std, lr=self.g_lr),
            view=Roll(self.jitter, self.flip),
            terms={
                "label": Weighted(self.label, terms.label),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
                "total_variation": Weighted(self.total_variation, terms.total_variation),
                "l2": Weighted(self.l2, terms.l2),
                "gap": Weighted(self.gap, terms.against(terms.js(3.0))),
            },
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=CropFlip(self.padding, self.flip),
            memory=ImageRing(self.capacity, lab.shape),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )
