"""SpaceshipNet: Data-Free KD via Feature Exchange and Activation Region Constraint (Yu et al., CVPR 2023).

Certain for the authors' code (its version V37); the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, Schedule, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import FeatureMapBuffer
from dfkd_lab.primitives.synthesizers import NoiseCode, PerBatchGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class SpaceshipNet:
    """Stored hidden maps exchange channels and become new images; the student also learns where to look."""

    citation: ClassVar[str] = "Yu et al., CVPR 2023"
    certainty: ClassVar[str] = "certain (authors' code)"
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
    cam: float = settings.cam(1.0)
    grad_cam: float = settings.grad_cam(1.0)
    exchange: float = setting(0.7, "share of the student's steps whose hidden maps exchange channels", low=0, high=1)
    g_lr: float = settings.g_lr(1e-3)
    g_steps: int = settings.g_steps(200)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(2000)
    batch: int = settings.batch(256, "and images a round")
    capacity: int = settings.capacity(51_200, "213 kB each at 32 pixels: 11 GB for all of the default run")
    temperature: float = settings.temperature(30.0)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: the generator goes on from round to round, its noise is not trained.

        Differs: the stored maps are those of the kept noise at the end of the phase, in half precision, not those of
        the best step, and are drawn with replacement; weights start as torch's layers do; the learning rate falls step
        by step.
        """
        view = CropFlip(self.padding, self.flip)
        net = context.generator(self.z_dim, self.width)
        code = NoiseCode(net.latent_shape)
        synthesizer = PerBatchGenerator(net, code, self.batch, context.classes, lr=self.g_lr)
        return Recipe(
            synthesizer=synthesizer,
            view=view,
            losses={
                "label": WeightedLoss(self.label, losses.label),
                "bn_gap": WeightedLoss(self.bn_gap, losses.BatchNormGap(context.batch_norms)),
            },
            student_losses=recipes.cam_losses(context, self.temperature, self.cam, self.grad_cam),
            student_view=view,
            memory=FeatureMapBuffer(synthesizer, self.capacity, context.shape, self.exchange),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )
