"""FSSC: Data-Free KD with Feature Synthesis and Spatial Consistency (Scientific Reports 2024).

Inferred: only the abstract was available. Certain are a generator with an attention module, SpaceshipNet's constraint
on activation regions, and that synthesis and distillation play against each other. Ours, after SpaceshipNet's code: the
kind of attention (squeeze and excitation), ``bn_gap``, the gap's form, all weights, the memory and the schedule. Not a
reproduction.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, Schedule
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.synthesizers import NoiseCode, PerBatchGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class FSSC:
    """A generator with channel attention plays against the student, which also learns where the teacher looks."""

    citation: ClassVar[str] = "Scientific Reports, 2024"
    certainty: ClassVar[str] = "inferred (parts certain, kind of attention and settings ours)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "z_dim": 64, "width": 32, "batch": 128, "g_steps": 10, "s_steps": 40, "padding": 1,
                   "flip": False, "temperature": 4.0, "capacity": 3840},
        "small_gray": {"rounds": 120, "z_dim": 100, "width": 16, "batch": 128, "g_steps": 30, "s_steps": 50,
                       "padding": 2, "temperature": 4.0, "capacity": 15_360},
        "cifar": {},
    }  # fmt: skip

    label: float = settings.label(0.5)
    bn_gap: float = settings.bn_gap(1.0)
    gap: float = settings.gap(0.5, "where both agree")
    squeeze: bool = setting(True, "channel attention (squeeze and excitation) at the end of the generator's blocks")
    cam: float = settings.cam(1.0)
    grad_cam: float = settings.grad_cam(1.0)
    g_lr: float = settings.g_lr(1e-3)
    g_steps: int = settings.g_steps(200)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(2000)
    batch: int = settings.batch(256, "and images a round")
    capacity: int = settings.capacity(51_200, "all of the default run")
    temperature: float = settings.temperature(30.0)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: SpaceshipNet's, with a gap that the generator seeks, and images in place of hidden maps."""
        view = CropFlip(self.padding, self.flip)
        net = context.generator(self.z_dim, self.width, squeeze=self.squeeze)
        return Recipe(
            synthesizer=PerBatchGenerator(net, NoiseCode(net.latent_shape), self.batch, context.classes, lr=self.g_lr),
            view=view,
            losses=recipes.inversion_losses(context, self.label, self.bn_gap, self.gap),
            student_losses=recipes.cam_losses(context, self.temperature, self.cam, self.grad_cam),
            student_view=view,
            memory=ImageBuffer(self.capacity, context.shape, pixel_classes=context.pixel_classes),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )
