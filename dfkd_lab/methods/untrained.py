"""An untrained generator: distillation on its images, the control for what training the generator adds.

Inferred: no paper; the generator is that of DFAD (arXiv:1912.11006), and all settings are ours.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.sources import Untrained
from dfkd_lab.recipe import Lab, Recipe, Weighted


@dataclass(frozen=True)
class UntrainedGenerator:
    """The student imitates the teacher on images of a generator that is never trained."""

    citation: ClassVar[str] = "a control, with the generator of Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "inferred (a control)"
    caveat: ClassVar[str] = "Nobody tells the generator what the teacher knows, so its images are smooth noise."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40, "z_dim": 64, "width": 32},
        "cifar10": {"rounds": 200},
        "cifar100": {"rounds": 200},
    }

    temperature: float = vocabulary.temperature(4.0)
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(391)
    batch: int = vocabulary.batch(128)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: new noise through the same weights for every step."""
        generator = lab.generator(self.z_dim, self.width, "tanh_bn")
        return Recipe(
            synthesizer=Untrained(generator, self.z_dim, self.batch),
            terms={},
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            memory=Live(),
            schedule=parts.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
