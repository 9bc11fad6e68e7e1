"""FSSC: Data-Free KD with Feature Synthesis and Spatial Consistency (Scientific Reports 2024).

Inferred: only the abstract was available. Certain are a generator with an attention module, SpaceshipNet's constraint
on activation regions, and that synthesis and distillation play against each other. The kind of attention (squeeze and
excitation), all weights, the memory and the schedule are ours, after SpaceshipNet's code. Not a reproduction.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives.memory import ImageRing
from dfkd_lab.primitives.phases import NoiseCode, PhaseGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Schedule
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class FSSC:
    """A generator with channel attention plays against the student, which also learns where the teacher looks."""

    citation: ClassVar[str] = "Scientific Reports, 2024"
    certainty: ClassVar[str] = "inferred (parts certain, kind of attention and settings ours)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "g_steps": 10, "s_steps": 40, "padding": 1,
                   "flip": False, "temperature": 4.0, "capacity": 3840},
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    label: float = vocabulary.label(0.5)
    bn_gap: float = vocabulary.bn_gap(1.0)
    gap: float = vocabulary.gap(0.5, "where both agree")
    squeeze: bool = knob(True, "channel attention (squeeze and excitation) at the end of the generator's blocks")
    cam: float = vocabulary.cam(1.0)
    grad_cam: float = vocabulary.grad_cam(1.0)
    g_lr: float = vocabulary.g_lr(1e-3)
    g_steps: int = vocabulary.g_steps(200)
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(2000)
    batch: int = vocabulary.batch(256, "and images a round")
    capacity: int = vocabulary.capacity(51_200, "all of the default run")
    temperature: float = vocabulary.temperature(30.0)
    padding: int = vocabulary.padding(4)
    flip: bool = vocabulary.flip(True)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: SpaceshipNet's, with a gap that the generator seeks, and images in place of hidden maps."""
        view = CropFlip(self.padding, self.flip)
        net = lab.generator(self.z_dim, self.width, squeeze=self.squeeze)
        return Recipe(
            synthesizer=PhaseGenerator(net, NoiseCode(self.z_dim), self.batch, lab.classes, lr=self.g_lr),
            view=view,
            terms=parts.inversion(lab, self.label, self.bn_gap, self.gap),
            student=parts.regions(lab, self.temperature, self.cam, self.grad_cam),
            student_view=view,
            memory=ImageRing(self.capacity, lab.shape),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )
