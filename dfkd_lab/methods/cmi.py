"""CMI: Contrastive Model Inversion for Data-Free Knowledge Distillation (Fang et al., IJCAI 2021, arXiv:2105.08584).

Certain for the authors' code (its script from scratch with one batch size, and 0.2 as temperature of the contrast); the
paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, Schedule, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.losses.contrastive import Contrast
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.synthesizers import NoiseCode, PerBatchGenerator
from dfkd_lab.primitives.views import CropFlip, ResizedCrop
from dfkd_lab.spec import setting


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
        "small_gray": {"rounds": 120, "z_dim": 100, "width": 16, "batch": 128, "g_steps": 30, "g_lr": 1e-2,
                       "z_lr": 1e-2, "s_steps": 50, "padding": 2, "temperature": 4.0, "capacity": 15_360,
                       "bank": 15_360, "negatives": 1024},
        "cifar": {},
    }  # fmt: skip

    label: float = settings.label(1.0)
    bn_gap: float = settings.bn_gap(1.0)
    gap: float = settings.gap(0.5, "where both agree")
    contrast: float = setting(0.8, "weight of the contrast with earlier images", low=0, high=100)
    contrast_temperature: float = setting(0.2, "temperature of the contrast", low=0.01, high=10, of="contrast")
    bank: int = setting(
        40_960, "embeddings of earlier images that the contrast keeps", low=1, high=10_000_000, of="contrast"
    )
    negatives: int = setting(4096, "of those in one step", low=1, high=1_000_000, of="contrast")
    g_lr: float = settings.g_lr(1e-3, "and of the contrast's projection")
    z_lr: float = settings.z_lr(1e-3)
    g_steps: int = settings.g_steps(200)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(400)
    batch: int = settings.batch(256, "and images a round")
    capacity: int = settings.capacity(51_200, "all of the default run")
    temperature: float = settings.temperature(20.0)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots.

        Differs: the contrast's local view is cut from the global one, and its bank gets fresh views of the best batch;
        all batch norms count, also with ResNet-34; the learning rate falls step by step.

        Inferred: both layers of the projection have biases; local views have aspects between 3/4 and 4/3.
        """
        view = CropFlip(self.padding, self.flip)
        contrast = Contrast(
            context.observer, view, ResizedCrop(0.25, self.flip), temperature=self.contrast_temperature,
            capacity=self.bank, negatives=self.negatives, lr=self.g_lr,
        )  # fmt: skip
        net = context.generator(self.z_dim, self.width)
        return Recipe(
            synthesizer=PerBatchGenerator(
                net, NoiseCode(net.latent_shape, self.z_lr), self.batch, context.classes, lr=self.g_lr, life=1,
                labels="random",
            ),
            view=view,
            losses={
                **recipes.inversion_losses(context, self.label, self.bn_gap, self.gap),
                "contrast": WeightedLoss(self.contrast, contrast),
            },
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            student_view=view,
            memory=ImageBuffer(self.capacity, context.shape, pixel_classes=context.pixel_classes),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )  # fmt: skip
