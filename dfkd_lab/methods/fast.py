"""FastDFKD: Up to 100x Faster Data-free Knowledge Distillation (Fang et al., AAAI 2022, arXiv:2112.06253).

Certain for the authors' code; the paper's text was not available.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class FastDFKD:
    """A generator that is meta-learned, so that a few steps give the next batch; every batch is kept."""

    citation: ClassVar[str] = "Fang et al., AAAI 2022, arXiv:2112.06253"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "z_dim": 64, "width": 32, "batch": 128, "s_steps": 40, "warm_up": 4, "g_steps": 8,
                   "padding": 1, "flip": False, "s_lr": 0.1, "temperature": 4.0, "capacity": 4352},
        "small_gray": {"rounds": 154, "z_dim": 100, "width": 16, "batch": 128, "s_steps": 40, "warm_up": 4,
                       "g_steps": 8, "padding": 2, "temperature": 4.0, "capacity": 19_712},
        "cifar": {},
        "imagenet": {"rounds": 4000, "warm_up": 0, "label": 0.1, "bn_gap": 0.1, "gap": 0.1, "meta": "reptile",
                     "meta_lr": 1e-4, "g_steps": 50, "g_lr": 2e-4, "s_steps": 100, "batch": 100, "s_lr": 0.1,
                     "temperature": 5.0, "capacity": 140_000, "generator": "deep", "view": "resized_crop",
                     "student_view": "resized_crop"},
        "segmentation": {**recipes.DENSE, "capacity": 100_000},
    }  # fmt: skip
    by_teacher: ClassVar[dict[str, dict[str, Any]]] = {"vgg11": {"gap": 1.0}, "wrn40_2": {"gap": 1.1, "label": 0.4}}

    label: float = settings.label(0.5)
    bn_gap: float = settings.bn_gap(10.0)
    gap: float = settings.gap(1.33, "from the last round of warm-up on")
    bn_momentum: float = settings.bn_momentum(0.9)
    meta: str = setting("fomaml", "how the generator follows its clone", choices=("fomaml", "reptile", "none"))
    meta_lr: float = setting(
        0.0, "learning rate of the generator itself (Adam), 0 for g_lr times g_steps", low=0, high=1
    )
    g_lr: float = settings.g_lr(3e-3, "of its clone")
    z_lr: float = settings.z_lr(0.01)
    g_steps: int = settings.g_steps(5, "k in Fast-k")
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.2)
    s_steps: int = settings.s_steps(400)
    warm_up: int = settings.warm_up(20)
    batch: int = settings.batch(256, "and images a round")
    capacity: int = settings.capacity(56_320, "all of the default run")
    evict: str = settings.evict("oldest")
    temperature: float = settings.temperature(20.0)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots.

        Differs: the first layer is not reset at call 120, the cosine falls step by step and ends with the run, and
        Reptile's factor is 1 (Adam divides a constant factor away). With the preset "imagenet" the noise is drawn anew
        each round, where the authors keep a map of it and meta-learn it too, the best images are kept, not the last,
        and the pool begins empty, where theirs is full; their student ResNet-18 has a gap of 1, the others this one.
        """
        view = CropFlip(self.padding, self.flip)
        return Recipe(
            synthesizer=recipes.meta_generator(
                context, self.z_dim, self.width, self.batch, self.g_lr, self.z_lr, self.g_steps, self.meta,
                self.meta_lr,
            ),
            view=view,
            losses=recipes.inversion_losses(
                context, self.label, self.bn_gap, self.gap, momentum=self.bn_momentum, start=max(0, self.warm_up - 1)
            ),
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            student_view=view,
            memory=ImageBuffer(self.capacity, context.shape, self.evict, context.pixel_classes),
            schedule=recipes.phase_schedule(self.g_steps, self.s_steps, self.batch, self.s_lr, self.warm_up),
        )  # fmt: skip
