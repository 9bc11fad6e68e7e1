"""FastDFKD: Up to 100x Faster Data-free Knowledge Distillation (Fang et al., AAAI 2022, arXiv:2112.06253).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import ImageRing
from dfkd_lab.primitives.meta import MetaGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Weighted
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
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    label: float = vocabulary.label(0.5)
    bn_gap: float = vocabulary.bn_gap(10.0)
    gap: float = vocabulary.gap(1.33, "after warm-up")
    bn_momentum: float = vocabulary.bn_momentum(0.9)
    meta: str = knob("fomaml", "how the generator follows its clone", choices=("fomaml", "reptile", "none"))
    g_lr: float = vocabulary.g_lr(3e-3, "of its clone")
    z_lr: float = vocabulary.z_lr(0.01)
    g_steps: int = vocabulary.g_steps(5, "k in Fast-k")
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    s_lr: float = vocabulary.s_lr(0.2)
    s_steps: int = vocabulary.s_steps(400)
    warm_up: int = vocabulary.warm_up(20)
    batch: int = vocabulary.batch(256, "and images a round")
    capacity: int = vocabulary.capacity(56_320, "all of the default run")
    temperature: float = vocabulary.temperature(20.0)
    padding: int = vocabulary.padding(4)
    flip: bool = vocabulary.flip(True)

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
            terms=parts.inversion(
                lab, self.label, self.bn_gap, self.gap, momentum=self.bn_momentum, start=self.warm_up
            ),
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=view,
            memory=ImageRing(self.capacity, lab.shape),
            schedule=parts.phases(self.g_steps, self.s_steps, self.batch, self.s_lr, self.warm_up),
        )  # fmt: skip
