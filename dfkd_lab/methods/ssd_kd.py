"""SSD-KD: Small Scale Data-Free Knowledge Distillation (Liu et al., CVPR 2024, arXiv:2406.07876).

Inferred: no equation, hyper-parameter or code of the paper was available. The parts and their roles are certain (a
small, partly updated replay buffer; a modulating function that is aware of diversity and difficulty; priority
sampling); their formulas are our reading, the rest is FastDFKD's (arXiv:2112.06253). Not a reproduction.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import ImageBuffer, Memory, PriorityBuffer
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers import MetaGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class SSDKD:
    """A small buffer of synthetic images, balanced as it is written and read by what the student finds hard."""

    citation: ClassVar[str] = "Liu et al., CVPR 2024, arXiv:2406.07876"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "z_dim": 64, "width": 32, "batch": 128, "capacity": 1000, "s_steps": 40, "warm_up": 4,
                   "g_steps": 8, "padding": 1, "flip": False, "s_lr": 0.1, "temperature": 4.0},
        "cifar": {},
    }  # fmt: skip

    capacity: int = settings.capacity(5000)
    diversity: bool = setting(True, "modulate: ease off classes that fill the buffer already")
    difficulty: bool = setting(True, "modulate: ease off images the teacher is sure of")
    gamma: float = setting(2.0, "focus of the difficulty part, (1 - p)^gamma", low=0, high=10)
    priority: bool = setting(True, "read the buffer by the student's last loss; uniformly if off")
    alpha: float = setting(0.6, "exponent of the priority", low=0, high=1)
    beta: float = setting(0.4, "exponent of the importance weights, rising to 1", low=0, high=1)
    label: float = settings.label(0.5)
    bn_gap: float = settings.bn_gap(10.0)
    gap: float = settings.gap(1.33, "after warm-up")
    bn_momentum: float = settings.bn_momentum(0.9)
    g_lr: float = settings.g_lr(3e-3, "of its clone")
    z_lr: float = settings.z_lr(0.01)
    g_steps: int = settings.g_steps(5)
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    s_lr: float = settings.s_lr(0.2)
    s_steps: int = settings.s_steps(100)
    warm_up: int = settings.warm_up(20)
    batch: int = settings.batch(256, "and images a round")
    temperature: float = settings.temperature(20.0)
    padding: int = settings.padding(4)
    flip: bool = settings.flip(True)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots."""
        uniform = ImageBuffer(self.capacity, context.shape)
        memory = PriorityBuffer(self.capacity, context.shape, self.alpha, self.beta) if self.priority else uniform
        modulated = Modulated(context.classes, self.gamma, self.diversity, self.difficulty)
        view = CropFlip(self.padding, self.flip)
        return Recipe(
            synthesizer=MetaGenerator(
                context.generator(self.z_dim, self.width), self.batch, self.z_dim, context.classes,
                lr=self.g_lr, z_lr=self.z_lr, steps=self.g_steps,
            ),
            view=view,
            losses=recipes.inversion_losses(
                context, self.label, self.bn_gap, self.gap, momentum=self.bn_momentum, start=self.warm_up,
                label_loss=modulated,
            ),
            student_losses={"kd": WeightedLoss(1.0, losses.kl(self.temperature))},
            student_view=view,
            memory=memory,
            schedule=recipes.phase_schedule(self.g_steps, self.s_steps, self.batch, self.s_lr, self.warm_up),
        )  # fmt: skip


class Modulated:
    """The modulating function phi times the cross entropy to the target class [N].

    Inferred: phi = (1 - share of the buffer in the predicted class) * (1 - p)^gamma, p the teacher's largest
    probability; phi carries no gradient.
    """

    needs = frozenset({"labels"})

    memory: Memory

    def __init__(self, classes: int, gamma: float, diversity: bool, difficulty: bool):
        self.classes, self.gamma, self.diversity, self.difficulty = classes, gamma, diversity, difficulty

    def bind(self, memory: Memory) -> None:
        """Read the class shares from ``memory``, whichever the run has."""
        self.memory = memory

    def __call__(self, observation: Observation) -> Tensor:
        return self.phi(observation.logits.detach()) * losses.label(observation)

    def phi(self, logits: Tensor) -> Tensor:
        """The weight [N] of each sample, in [0, 1]."""
        p, predicted = logits.softmax(1).max(1)
        diversity = 1 - self.memory.class_shares(self.classes)[predicted] if self.diversity else 1.0
        return diversity * ((1 - p) ** self.gamma if self.difficulty else 1.0) + 0 * p  # of shape [N] in any case
