"""DeepInversion: Dreaming to Distill; also Adaptive DeepInversion (Yin et al., CVPR 2020, arXiv:1912.08795).

Certain for the codes that it is known by, which the setting ``form`` tells apart: the authors' for CIFAR and for
ImageNet, which distil nothing, and the CMI toolbox's, whose distillation on the growing pool serves them all.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, Schedule, WeightedLoss
from dfkd_lab.engine.schedules import risen_cosine
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.synthesizers import Pixels
from dfkd_lab.primitives.views import CropFlip, Roll
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class DeepInversion:
    """Pixels optimized until the teacher sees the target class, with the statistics its batch norms remember."""

    citation: ClassVar[str] = "Yin et al., CVPR 2020, arXiv:1912.08795"
    certainty: ClassVar[str] = "certain (authors' code; distillation from the CMI toolbox)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "g_steps": 60, "s_steps": 40, "batch": 128, "capacity": 4000, "jitter": 1,
                   "flip": False, "mirror": False, "padding": 1, "temperature": 4.0, "total_variation": 1e-3},
        "small_gray": {"rounds": 60, "g_steps": 200, "s_steps": 100, "batch": 128, "capacity": 7680, "padding": 2,
                       "temperature": 4.0},
        "cifar": {},
        "imagenet": {"form": "imagenet", "g_steps": 2000, "g_lr": 0.25, "bn_gap": 0.01, "first_layer": 10.0,
                     "total_variation": 1e-4, "l2": 1e-5, "gap": 0.0, "jitter": 30, "batch": 84, "capacity": 16_800},
        "cifar100": {},
        "cifar10": {"form": "authors", "g_steps": 2000, "g_lr": 0.05, "gap": 0.0, "total_variation": 2.5e-5,
                    "jitter": 2, "mirror": False},
    }  # fmt: skip

    form: str = setting(
        "toolbox",
        "whose code: the CMI toolbox's (L1 variation, clipped pixels, random labels), the authors' for CIFAR (L2 "
        "variation, pixels as they come, as many of each class), or theirs for ImageNet (L2 variation, clipped pixels, "
        "random labels, an L2 prior of each image, a rate that rises and falls)",
        choices=("toolbox", "authors", "imagenet"),
    )
    label: float = settings.label(1.0)
    bn_gap: float = settings.bn_gap(10.0, "alpha_f")
    first_layer: float = settings.first_layer(1.0)
    total_variation: float = setting(1e-3, "weight of the total variation in network units, alpha_tv", low=0, high=10)
    l2: float = setting(0.0, "weight of the L2 prior in network units, alpha_l2", low=0, high=10)
    gap: float = settings.gap(1.0, "a JS (Adaptive DeepInversion), alpha_c")
    g_lr: float = setting(0.1, "learning rate of the pixels (Adam)", low=0, high=10)
    g_steps: int = settings.g_steps(1000)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.s_steps(400)
    batch: int = settings.batch(256, "and images a round")
    capacity: int = settings.capacity(51_200)
    temperature: float = settings.temperature(20.0)
    jitter: int = setting(4, "largest roll of a batch during inversion", low=0, high=64, unit="pixels")
    mirror: bool = setting(True, "mirror half of the batches during inversion; wrong for digits")
    padding: int = settings.padding(4, "during distillation")
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots.

        Differs: the pool is a ring, because a run's memory has to be known before it begins; the divergence is the
        true JS, not the code's clamped one; the images kept are the best, where the toolbox and the authors' code for
        CIFAR keep the last by an alias; the toolbox takes the variation before the roll, here it is after it, as the
        authors do; of a batch that is no multiple of the classes the labels left over are random, where the authors
        take the first ones; the learning rate falls step by step. Of the authors' ways for ImageNet it is the one at
        full size throughout.

        Inferred: in the form for ImageNet the pixels' learning rate rises evenly over its 100 steps of warm-up.
        """
        for_cifar, for_imagenet = self.form == "authors", self.form == "imagenet"
        betas = {"toolbox": (0.5, 0.99), "authors": (0.9, 0.999), "imagenet": (0.5, 0.9)}[self.form]
        rate = partial(risen_cosine, steps=self.g_steps, start=self.g_lr, rise=100) if for_imagenet else None
        units = context.network_units
        return Recipe(
            synthesizer=Pixels(
                self.batch, context.shape, context.classes, context.mean, context.std, lr=self.g_lr,
                betas=betas, clip=not for_cifar, labels="balanced" if for_cifar else "random", rate=rate,
            ),
            view=Roll(self.jitter, self.mirror),
            losses={
                "label": WeightedLoss(self.label, losses.label),
                "bn_gap": WeightedLoss(self.bn_gap, losses.BatchNormGap(context.batch_norms, first=self.first_layer)),
                "total_variation": WeightedLoss(
                    self.total_variation, losses.total_variation(units, "l1" if self.form == "toolbox" else "l2")
                ),
                "l2": WeightedLoss(self.l2, losses.l2(units, of_images=for_imagenet)),
                **recipes.js_gap(self.gap),
            },
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            student_view=CropFlip(self.padding, self.flip),
            memory=ImageBuffer(self.capacity, context.shape, pixel_classes=context.pixel_classes),
            schedule=Schedule(g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, s_lr=self.s_lr),
        )  # fmt: skip
