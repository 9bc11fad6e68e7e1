"""DeepInversion and Adaptive DeepInversion (Yin et al., CVPR 2020, arXiv:1912.08795).

Certain for the authors' code; knowledge distillation on the growing pool follows the CMI toolbox, because the authors'
CIFAR script has none.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
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
        "cifar10": {"g_steps": 2000, "g_lr": 0.05, "gap": 0.0},
        "cifar100": {},
    }  # fmt: skip

    label: float = vocabulary.label(1.0)
    bn_gap: float = vocabulary.bn_gap(10.0, "alpha_f")
    total_variation: float = knob(2.5e-5, "weight of the total variation, alpha_tv", low=0, high=10)
    l2: float = knob(0.0, "weight of the L2 prior, alpha_l2", low=0, high=10)
    gap: float = vocabulary.gap(1.0, "a JS (Adaptive DeepInversion), alpha_c")
    g_lr: float = knob(0.1, "learning rate of the pixels (Adam)", low=0, high=10)
    g_steps: int = vocabulary.g_steps(1000)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(400)
    batch: int = vocabulary.batch(256, "and images a round")
    capacity: int = vocabulary.capacity(51_200)
    temperature: float = vocabulary.temperature(20.0)
    jitter: int = knob(2, "largest roll of the images during inversion", low=0, high=64, unit="pixels")
    padding: int = vocabulary.padding(4, "during distillation")
    flip: bool = vocabulary.flip(True)

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
                **parts.disagreement(self.gap),
            },
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=CropFlip(self.padding, self.flip),
            memory=ImageRing(self.capacity, lab.shape),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )
