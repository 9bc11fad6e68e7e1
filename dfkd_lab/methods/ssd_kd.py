"""SSD-KD: Small Scale Data-Free Knowledge Distillation (Liu et al., CVPR 2024, arXiv:2406.07876).

Inferred: no equation, hyper-parameter or code of the paper was available. The parts and their roles are certain (a
small, partly updated replay buffer; a modulating function that is aware of diversity and difficulty; priority
sampling); their formulas are our reading, the rest is FastDFKD's (arXiv:2112.06253). Not a reproduction.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import ImageRing, Memory, PriorityRing
from dfkd_lab.primitives.observe import Observation
from dfkd_lab.primitives.synthesis import MetaGenerator
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class SSDKD:
    """A small buffer of synthetic images, balanced as it is written and read by what the student finds hard."""

    citation: ClassVar[str] = "Liu et al., CVPR 2024, arXiv:2406.07876"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "z_dim": 64, "width": 32, "batch": 128, "capacity": 1000, "s_steps": 40, "warm_up": 4,
                   "g_steps": 8, "padding": 1, "flip": False, "s_lr": 0.1, "temperature": 4.0},
    }  # fmt: skip

    capacity: int = knob(5000, "images the replay buffer holds", low=2, high=10_000_000, unit="images")
    diversity: bool = knob(True, "modulate: ease off classes that fill the buffer already")
    difficulty: bool = knob(True, "modulate: ease off images the teacher is sure of")
    gamma: float = knob(2.0, "focus of the difficulty part, (1 - p)^gamma", low=0, high=10)
    priority: bool = knob(True, "read the buffer by the student's last loss; uniformly if off")
    alpha: float = knob(0.6, "exponent of the priority", low=0, high=1)
    beta: float = knob(0.4, "exponent of the importance weights, rising to 1", low=0, high=1)
    label: float = knob(0.5, "weight of the cross entropy to the label asked for", low=0, high=100)
    bn_gap: float = knob(10.0, "weight of the batch-norm statistics", low=0, high=1000)
    gap: float = knob(1.33, "weight of the adversarial term, after warm-up", low=0, high=100)
    bn_momentum: float = knob(0.9, "share of earlier rounds in the batch-norm statistics", low=0, high=0.999)
    g_lr: float = knob(3e-3, "learning rate of the generator's clone (Adam)", low=0, high=1)
    z_lr: float = knob(0.01, "learning rate of the noise (Adam)", low=0, high=1)
    g_steps: int = knob(5, "synthesis steps a round", low=1, high=10_000, unit="steps")
    z_dim: int = knob(256, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    s_lr: float = knob(0.2, "learning rate of the student (SGD), cosine to s_lr / 1000", low=0, high=1)
    s_steps: int = knob(100, "student steps a round", low=1, high=100_000, unit="steps")
    warm_up: int = knob(20, "rounds of synthesis before the student starts", low=0, high=100_000, unit="rounds")
    batch: int = knob(256, "images a round, and images a student step", low=2, high=65_536, unit="images")
    temperature: float = knob(20.0, "temperature of distillation", low=0.1, high=100)
    padding: int = knob(4, "padding of the random crop", low=0, high=64, unit="pixels")
    flip: bool = knob(True, "mirror half of the images; wrong for digits")

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots."""
        uniform = ImageRing(self.capacity, lab.shape)
        memory = PriorityRing(self.capacity, lab.shape, self.alpha, self.beta) if self.priority else uniform
        modulated = Modulated(lab.classes, self.gamma, self.diversity, self.difficulty)
        view = CropFlip(self.padding, self.flip)
        return Recipe(
            synthesizer=MetaGenerator(
                lab.generator(self.z_dim, self.width), self.batch, self.z_dim, lab.classes,
                lr=self.g_lr, z_lr=self.z_lr, steps=self.g_steps,
            ),
            view=view,
            terms={
                "label": Weighted(self.label, modulated),
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms, self.bn_momentum)),
                "gap": Weighted(self.gap, terms.against(terms.kl(), agreeing=True), start=self.warm_up),
            },
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=view,
            memory=memory,
            schedule=Schedule(
                g_steps=self.g_steps, s_steps=self.s_steps, batch=self.batch, warm_up=self.warm_up,
                s_lr=self.s_lr, s_lr_floor=self.s_lr / 1000,
            ),
        )  # fmt: skip


class Modulated:
    """The modulating function phi times the cross entropy to the label asked for [N].

    Inferred: phi = (1 - share of the buffer in the predicted class) * (1 - p)^gamma, p the teacher's largest
    probability; phi carries no gradient.
    """

    needs = frozenset({"labels"})

    memory: Memory

    def __init__(self, classes: int, gamma: float, diversity: bool, difficulty: bool):
        self.classes, self.gamma, self.diversity, self.difficulty = classes, gamma, diversity, difficulty

    def bind(self, memory: Memory) -> None:
        """Told what to read the class shares from."""
        self.memory = memory

    def __call__(self, seen: Observation) -> Tensor:
        return self.phi(seen.logits.detach()) * terms.label(seen)

    def phi(self, logits: Tensor) -> Tensor:
        """The weight [N] of each sample, in [0, 1]."""
        p, predicted = logits.softmax(1).max(1)
        diversity = 1 - self.memory.class_shares(self.classes)[predicted] if self.diversity else 1.0
        return diversity * ((1 - p) ** self.gamma if self.difficulty else 1.0) + 0 * p
