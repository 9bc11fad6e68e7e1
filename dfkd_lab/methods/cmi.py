"""CMI: Contrastive Model Inversion for Data-Free Knowledge Distillation (Fang et al., IJCAI 2021, arXiv:2105.08584).

Certain for the authors' code (its script from scratch with one batch size, and 0.2 as temperature of the contrast); the
paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.contrast import Contrast
from dfkd_lab.primitives.memory import ImageRing
from dfkd_lab.primitives.phases import NoiseCode, PhaseGenerator
from dfkd_lab.primitives.views import CropFlip, ResizedCrop
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class CMI:
    """A new generator every round, whose images are pushed away from all that were made before."""

    citation: ClassVar[str] = "Fang et al., IJCAI 2021, arXiv:2105.08584"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "g_steps": 10, "g_lr": 1e-2, "z_lr": 1e-2,
                   "s_steps": 40, "padding": 1, "flip": False, "temperature": 4.0, "capacity": 3840, "bank": 3840,
                   "negatives": 256},
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    label: float = vocabulary.label(1.0)
    bn_gap: float = vocabulary.bn_gap(1.0)
    gap: float = vocabulary.gap(0.5, "where both agree")
    contrast: float = knob(0.8, "weight of the contrast with earlier images", low=0, high=100)
    contrast_temperature: float = knob(0.2, "temperature of the contrast", low=0.01, high=10)
    bank: int = knob(40_960, "embeddings of earlier images that the contrast keeps", low=1, high=10_000_000)
    negatives: int = knob(4096, "of those in one step", low=1, high=1_000_000)
    g_lr: float = vocabulary.g_lr(1e-3, "and of the contrast's projection")
    z_lr: float = vocabulary.z_lr(1e-3)
    g_steps: int = vocabulary.g_steps(200)
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(400)
    batch: int = vocabulary.batch(256, "and images a round")
    capacity: int = vocabulary.capacity(51_200, "all of the default run")
    temperature: float = vocabulary.temperature(20.0)
    padding: int = vocabulary.padding(4)
    flip: bool = vocabulary.flip(True)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots.

        Differs: the contrast's local view is cut from the global one, and its bank gets fresh views of the best batch;
        all batch norms count, also with ResNet-34; the learning rate falls step by step.

        Inferred: both layers of the projection have biases; local views have aspects between 3/4 and 4/3.
        """
        view = CropFlip(self.padding, self.flip)
        contrast = Contrast(
            lab.observer, view, ResizedCrop(0.25, self.flip), temperature=self.contrast_temperature,
            capacity=self.bank, negatives=self.negatives, lr=self.g_lr,
        )  # fmt: skip
        return Recipe(
            synthesizer=PhaseGenerator(
                lab.generator(self.z_dim, self.width), NoiseCode(self.z_dim, self.z_lr), self.batch, lab.classes,
                lr=self.g_lr, life=1, labels="random",
            ),
            view=view,
            terms={
                **parts.inversion(lab, self.label, self.bn_gap, self.gap),
                "contrast": Weighted(self.contrast, contrast),
            },
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=view,
            memory=ImageRing(self.capacity, lab.shape),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )  # fmt: skip
