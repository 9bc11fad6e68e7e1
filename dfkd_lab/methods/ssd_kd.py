"""SSD-KD: Small Scale Data-Free Knowledge Distillation (Liu et al., CVPR 2024, arXiv:2406.07876).

Inferred: no equation, hyper-parameter or code of the paper was available; not a reproduction. Certain: a small, partly
updated buffer; phi, aware of diversity and difficulty; priority sampling. Second-hand: 5,000 images; a count of the
predicted class; low confidence "like focal loss"; priority by the discrepancy, with importance weights; gamma and beta
as the only new hyper-parameters, so that alpha may be 1; phi in distillation too. Ours: that the oldest give way, the
product, gamma = 2, ``modulate``; the replay's settings are those of arXiv:1511.05952, the rest is FastDFKD's.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.methods.fast import FastDFKD
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.batch import of_images
from dfkd_lab.primitives.losses.modulated import Modulated
from dfkd_lab.primitives.memories import DIVISORS, ImageBuffer, Memory, PriorityBuffer
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.spec import setting

BY = ("confidence", "target")


@dataclass(frozen=True)
class SSDKD:
    """A small buffer of synthetic images, balanced as it is written and read by what the student finds hard."""

    citation: ClassVar[str] = "Liu et al., CVPR 2024, arXiv:2406.07876"
    certainty: ClassVar[str] = "inferred (parts certain, formulas our reading)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "z_dim": 64, "width": 32, "batch": 128, "capacity": 1000, "s_steps": 40, "warm_up": 4,
                   "g_steps": 8, "padding": 1, "flip": False, "s_lr": 0.1, "temperature": 4.0},
        "small_gray": {"rounds": 154, "z_dim": 100, "width": 16, "batch": 128, "s_steps": 40, "warm_up": 4,
                       "g_steps": 8, "padding": 2, "temperature": 4.0, "capacity": 2000, "modulate": "target"},
        "cifar": {}, "segmentation": {**recipes.DENSE, "capacity": 1000},
    }  # fmt: skip
    by_teacher: ClassVar[dict[str, dict[str, Any]]] = FastDFKD.by_teacher

    capacity: int = settings.capacity(5000)
    evict: str = settings.evict("oldest")
    diversity: bool = setting(True, "modulate: ease off classes that fill the buffer already")
    difficulty: bool = setting(True, "modulate: ease off images the teacher is sure of")
    modulate: str = setting("confidence", "phi goes by the predicted or by the target class", choices=BY)
    modulate_student: bool = setting(False, "weigh the student's loss by phi too")
    gamma: float = setting(2.0, "focus of the difficulty part, (1 - p)^gamma", low=0, high=10, of="difficulty")
    priority: bool = setting(True, "read the buffer by the student's last loss; uniformly if off")
    alpha: float = setting(0.6, "exponent of the priority", low=0, high=1, of="priority")
    beta: float = setting(0.4, "exponent of the importance weights, rising to 1", low=0, high=1, of="priority")
    importance: str = setting("largest", "divisor of these weights, or none of them", choices=DIVISORS, of="priority")
    label: float = settings.label(0.5)
    bn_gap: float = settings.bn_gap(10.0)
    gap: float = settings.gap(1.33, "from the last round of warm-up on")
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
        recipes.refuse_target_class(context, self.modulate)
        kept, rest, by = (self.capacity, context.shape), (self.evict, context.pixel_classes), (self.alpha, self.beta)
        memory = PriorityBuffer(*kept, *by, *rest, self.importance) if self.priority else ImageBuffer(*kept, *rest)
        phi = Modulation(context.classes, self.gamma, self.diversity, self.difficulty, self.modulate)
        kd, view = losses.kl(self.temperature), CropFlip(self.padding, self.flip)
        return Recipe(
            synthesizer=recipes.meta_generator(
                context, self.z_dim, self.width, self.batch, self.g_lr, self.z_lr, self.g_steps
            ),
            view=view,
            losses=recipes.inversion_losses(
                context, self.label, self.bn_gap, self.gap, momentum=self.bn_momentum, start=max(0, self.warm_up - 1),
                label_loss=Modulated(recipes.loss_of_label(context), phi),
            ),
            student_losses={"kd": WeightedLoss(1.0, Modulated(kd, phi) if self.modulate_student else kd)},
            student_view=view,
            memory=memory,
            schedule=recipes.phase_schedule(self.g_steps, self.s_steps, self.batch, self.s_lr, self.warm_up),
        )  # fmt: skip


class Modulation:
    """The modulating function phi: the weight [N] of each sample, in [0, 1], without gradient.

    Inferred: phi = (1 - share of the buffer in class c) * (1 - p)^gamma, p the probability of c, which is the predicted
    class ("confidence") or the target class ("target", the focal loss of Lin et al., arXiv:1708.02002).
    """

    def __init__(self, classes: int, gamma: float, diversity: bool, difficulty: bool, modulate: str):
        self.classes, self.gamma, self.diversity, self.difficulty = classes, gamma, diversity, difficulty
        self.by_target = modulate == "target"
        self.needs = frozenset({"labels"} if self.by_target else ())

    def bind(self, memory: Memory) -> None:
        """Read the class shares from ``memory``, whichever the run has."""
        self.memory: Memory = memory

    def __call__(self, observation: Observation) -> Tensor:
        probabilities = observation.logits.detach().softmax(1)
        shares = self.memory.class_shares(self.classes) if self.diversity else probabilities.new_zeros(self.classes)
        if probabilities.ndim > 2:  # of a scene the mean confidence of its pixels, and its classes by their shares
            p, filled = probabilities.amax(1).flatten(1).mean(1), of_images(probabilities) @ shares.to(probabilities)
        else:
            class_ = cast(Tensor, observation.labels) if self.by_target else probabilities.argmax(1)
            p, filled = probabilities.gather(1, class_[:, None]).squeeze(1), shares[class_]
        return (1 - filled) * ((1 - p) ** self.gamma if self.difficulty else 1.0) + 0 * p  # of shape [N] in any case
