"""Noise: distillation on random pixels, the control for what a method's images add (a row in arXiv:1912.11006).

Inferred: the tables say "noise" and no more; the distributions and all settings are ours.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.sources import NoisePixels
from dfkd_lab.recipe import Lab, Recipe, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class Noise:
    """The student imitates the teacher on random pixels."""

    citation: ClassVar[str] = "baseline of Fang et al., 2019, arXiv:1912.11006"
    certainty: ClassVar[str] = "inferred (a control)"
    caveat: ClassVar[str] = "The teacher says little about pixels without structure, so there is little to imitate."
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40},
        "cifar10": {"rounds": 200},
        "cifar100": {"rounds": 200},
    }

    pixels: str = knob("gaussian", "distribution of the pixels, with the mean and deviation of the teacher's "
                       "normalization", choices=("gaussian", "uniform"))  # fmt: skip
    temperature: float = vocabulary.temperature(4.0)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(391)
    batch: int = vocabulary.batch(128)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: new noise for every step, nothing of it learned."""
        return Recipe(
            synthesizer=NoisePixels(lab.shape, lab.mean, lab.std, self.batch, self.pixels),
            terms={},
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            memory=Live(),
            schedule=parts.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
