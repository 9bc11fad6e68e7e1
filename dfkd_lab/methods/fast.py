"""FastDFKD: Up to 100x Faster Data-free Knowledge Distillation (Fang et al., AAAI 2022, arXiv:2112.06253).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import ImageRing
from dfkd_lab.primitives.synthesis import MetaGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class FastDFKD:
    """A generator that is meta-learned, so that a few steps give the next batch; every batch is kept."""

    citation: ClassVar[str] = "Fang et al., AAAI 2022, arXiv:2112.06253"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "z_dim": 64, "width": 32, "batch": 128, "s_steps": 40, "warm_up": 4, "g_steps": 8,
                   "padding": 1, "flip": False, "s_lr": 0.1, "temperature": 4.0, "capacity": 4352},
    }  # fmt: skip

    label: float = knob(0.5, "weight of the cross entropy to the label asked for", low=0, high=100)
    bn_gap: float = knob(10.0, "weight of the batch-norm statistics", low=0, high=1000)
    gap: float = knob(1.33, "weight of the adversarial term, after warm-up", low=0, high=100)
    bn_momentum: float = knob(0.9, "share of earlier rounds in the batch-norm statistics", low=0, high=0.999)
    meta: str = knob("fomaml", "how the generator follows its clone", choices=("fomaml", "reptile", "none"))
    g_lr: float = knob(3e-3, "learning rate of the generator's clone (Adam)", low=0, high=1)
    z_lr: float = knob(0.01, "learning rate of the noise (Adam)", low=0, high=1)
    g_steps: int = knob(5, "synthesis steps a round, k in Fast-k", low=1, high=10_000, unit="steps")
    z_dim: int = knob(256, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    s_lr: float = knob(0.2, "learning rate of the student (SGD), cosine to s_lr / 1000", low=0, high=1)
    s_steps: int = knob(400, "student steps a round", low=1, high=100_000, unit="steps")
    warm_up: int = knob(20, "rounds of synthesis before the student starts", low=0, high=100_000, unit="rounds")
    batch: int = knob(256, "images a round, and images a student step", low=2, high=65_536, unit="images")
    capacity: int = knob(56_320, "images the pool holds; the default keeps all", low=2, high=10_000_000, unit="images")
    temperature: float = knob(20.0, "temperature of distillation", low=0.1, high=100)
    padding: int = knob(4, "padding of the random crop", low=0, high=64, unit="pixels")
    flip: bool = knob(True, "mirror half of the images; wrong for digits")

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots.

        Differs: the first layer is not reset at call 120, the cosine ends with the run, and Reptile's factor is 1
        (Adam divides a constant factor away).
        """
        view = CropFlip(self.padding, self.flip)
        return Recipe(
            synthesizer=MetaGenerator(
                lab.generator(self.z_dim, self.width), self.batch, self.z_dim, lab.classes,
                lr=self.g_lr, z_lr=self.z_lr, steps=self.g_steps, meta=self.meta,
            ),
            view=view,
            terms={
                "label": Weighted(self.label, terms.label),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms, self.bn_momentum)),
                "gap": Weighted(self.gap, terms.against(terms.kl(), agreeing=True), start=self.warm_up),
            },
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=view,
            memory=ImageRing(self.capacity, lab.shape),
            schedule=Schedule(
                g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, warm_up=self.warm_up,
                s_lr=self.s_lr, s_lr_floor=self.s_lr / 1000,
            ),
        )  # fmt: skip
