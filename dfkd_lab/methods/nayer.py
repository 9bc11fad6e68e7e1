"""NAYER: Noisy Layer Data Generation for Efficient and Effective DFKD (Tran et al., CVPR 2024, arXiv:2310.00258).

Certain for the authors' code; the paper's text was not available. The "paper" preset is the shortest of the
authors' runs, 100 epochs after the warm-up; 400 rounds with a capacity of 320,000 are the longest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from dfkd_lab.engine.recipe import MethodContext, Recipe, Schedule, WeightedLoss
from dfkd_lab.errors import RecipeError
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.nets.initialization import reset_parameters
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.primitives.synthesizers import NoisyLabels, PerBatchGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class NAYER:
    """The generator starts from the class's embedding; the randomness is in a layer that is new every time."""

    citation: ClassVar[str] = "Tran et al., CVPR 2024, arXiv:2310.00258"
    certainty: ClassVar[str] = "certain (authors' code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 34, "z_dim": 64, "width": 32, "batch": 128, "s_batch": 128, "g_steps": 8, "s_steps": 20,
                   "warm_up": 4, "padding": 1, "flip": False, "s_lr": 0.1, "temperature": 4.0, "capacity": 8704},
        "small_gray": {"rounds": 104, "z_dim": 100, "width": 16, "batch": 128, "s_batch": 128, "g_steps": 20,
                       "s_steps": 30, "warm_up": 4, "padding": 2, "temperature": 4.0, "capacity": 26_624},
        "cifar": {},
        "cifar100": {"g_steps": 40},
    }  # fmt: skip

    embeddings: str = setting(
        "", "a .safetensors file with the class names' embeddings [K, E]; empty takes random ones"
    )
    label: float = settings.label(0.5)
    bn_gap: float = settings.bn_gap(10.0)
    gap: float = settings.gap(1.33, "after warm-up")
    bn_momentum: float = settings.bn_momentum(0.9)
    g_lr: float = settings.g_lr(4e-3, "and of the noisy layers")
    g_steps: int = settings.g_steps(30, "times the turns")
    g_life: int = setting(10, "rounds after which the generator is made new", low=1, high=100_000, unit="rounds")
    z_dim: int = settings.z_dim(1000)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.2)
    s_steps: int = settings.s_steps(200, "times the turns")
    cycles: int = settings.cycles(2)
    warm_up: int = settings.warm_up(100)
    batch: int = settings.batch(400, "of the synthesis")
    s_batch: int = settings.batch(512, "of the student")
    capacity: int = settings.capacity(160_000, "all of the default run")
    temperature: float = settings.temperature(20.0)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: the batch norm of the embeddings is made new with the generator.

        Differs: the embeddings are CLIP's, of "a image of <class>", only if a file gives them; without one they are
        fixed random ones. A round's two turns are followed by 200 student steps each, not by 400 together. The authors'
        20 rounds of warm-up have 10 turns each; here that is 100 rounds of two, in which the generator is made new ten
        times, not twice; after it only those rounds count that follow it. The student is in eval mode in the synthesis
        of each turn; theirs is in train mode from a round's second on. The learning rate falls step by step.
        """
        context.refuse_pixels()
        view = CropFlip(self.padding, self.flip)
        code = NoisyLabels(table(self.embeddings, context.classes), self.z_dim)
        return Recipe(
            synthesizer=PerBatchGenerator(
                context.generator(self.z_dim, self.width, latent_map=False), code, self.batch, context.classes,
                lr=self.g_lr, life=self.g_life * self.cycles, restart=self.warm_up * self.cycles,
                reset=reset_parameters,
            ),
            view=view,
            losses=recipes.inversion_losses(
                context, self.label, self.bn_gap, self.gap, momentum=self.bn_momentum, start=self.warm_up
            ),
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            student_view=view,
            memory=ImageBuffer(self.capacity, context.shape, pixel_classes=context.pixel_classes),
            schedule=Schedule(
                g_steps=self.g_steps, s_steps=self.s_steps, cycles=self.cycles, batch=self.s_batch,
                warm_up=self.warm_up, s_lr=self.s_lr, s_lr_floor=self.s_lr / 1000,
            ),
        )  # fmt: skip


def table(path: str, classes: int, length: int = 512) -> Tensor:
    """The embeddings [K, E] of the classes: those in the file, or random ones [K, ``length``], the same in every run.

    Raises:
        RecipeError: if there is no such file, or it holds anything but one row a class.
    """
    if not path:
        return torch.randn(classes, length, generator=torch.Generator().manual_seed(0))
    try:
        tensors = load(Path(path).read_bytes())
    except (OSError, SafetensorError) as error:
        raise RecipeError(f"embeddings = {path!r} cannot be read as a .safetensors file: {error}") from None
    shapes = [tuple(each.shape) for each in tensors.values()]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != classes:
        raise RecipeError(f"embeddings = {path!r} holds tensors of the shapes {shapes}; wanted: one, ({classes}, E)")
    return next(iter(tensors.values())).float()
