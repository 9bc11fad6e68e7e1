"""KD: Distilling the Knowledge in a Neural Network (Hinton et al., 2015, arXiv:1503.02531).

The reference that data-free methods are measured against: it reads real images, all of them or a few.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Live
from dfkd_lab.primitives.sources import Given, few
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.recipe import Lab, Recipe, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class KD:
    """The student imitates the teacher's softened predictions on real images."""

    citation: ClassVar[str] = "Hinton et al., 2015, arXiv:1503.02531"
    certainty: ClassVar[str] = "certain (the loss; settings are the usual ones)"
    reads_real_images: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 200},
        "digits": {"rounds": 30, "s_steps": 40, "padding": 1, "flip": False},
        "cifar10": {"rounds": 200},
        "cifar100": {"rounds": 200},
    }

    images: int = knob(0, "real images to learn from, as many of each class; 0, or more than there are, takes all",
                       low=0, high=10_000_000, unit="images")  # fmt: skip
    temperature: float = vocabulary.temperature(4.0)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.s_steps(391)
    batch: int = vocabulary.batch(128)
    padding: int = vocabulary.padding(4)
    flip: bool = vocabulary.flip(True)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: nothing is synthesized.

        Differs: the paper adds a small cross entropy to the true labels, which is left out, so that the student knows
        of the images what data-free students know of theirs; images are drawn with replacement, not by epochs.
        """
        real = lab.real
        assert real.labels is not None
        chosen = few(real.labels, self.images or len(real.images))
        return Recipe(
            synthesizer=Given(real.images[chosen], real.labels[chosen], self.batch),
            terms={},
            student={"kd": Weighted(1.0, terms.kl(self.temperature))},
            student_view=CropFlip(self.padding, self.flip),
            memory=Live(),
            schedule=parts.no_synthesis(self.s_steps, self.batch, self.s_lr),
        )
