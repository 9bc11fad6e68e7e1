"""SpaceshipNet: Data-Free KD via Feature Exchange and Activation Region Constraint (Yu et al., CVPR 2023).

Certain for the authors' code (its version V37); the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.hidden import HiddenMaps
from dfkd_lab.primitives.phases import NoiseCode, PhaseGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class SpaceshipNet:
    """Stored hidden maps exchange channels and become new images; the student also learns where to look."""

    citation: ClassVar[str] = "Yu et al., CVPR 2023"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "g_steps": 10, "s_steps": 40, "padding": 1,
                   "flip": False, "temperature": 4.0, "capacity": 3840},
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    label: float = vocabulary.label(0.5)
    bn_gap: float = vocabulary.bn_gap(1.0)
    cam: float = vocabulary.cam(1.0)
    grad_cam: float = vocabulary.grad_cam(1.0)
    exchange: float = knob(0.7, "share of the student's steps whose hidden maps exchange channels", low=0, high=1)
    g_lr: float = vocabulary.g_lr(1e-3)
    g_steps: int = vocabulary.g_steps(200)
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(2000)
    batch: int = vocabulary.batch(256, "and images a round")
    capacity: int = vocabulary.capacity(51_200, "213 kB each at 32 pixels: 11 GB for all of the default run")
    temperature: float = vocabulary.temperature(30.0)
    padding: int = vocabulary.padding(4)
    flip: bool = vocabulary.flip(True)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: the generator goes on from round to round, its noise is not trained.

        Differs: the stored maps are those of the kept noise at the end of the phase, not those of the best step, and
        are drawn with replacement; weights start as torch's layers do; the learning rate falls step by step.
        """
        view = CropFlip(self.padding, self.flip)
        synthesizer = PhaseGenerator(
            lab.generator(self.z_dim, self.width), NoiseCode(self.z_dim), self.batch, lab.classes, lr=self.g_lr
        )
        return Recipe(
            synthesizer=synthesizer,
            view=view,
            terms={
                "label": Weighted(self.label, terms.label),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
            },
            student=parts.regions(lab, self.temperature, self.cam, self.grad_cam),
            student_view=view,
            memory=HiddenMaps(synthesizer, self.capacity, lab.shape, self.exchange),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )
