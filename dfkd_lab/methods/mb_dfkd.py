"""MB-DFKD: Preventing Catastrophic Forgetting in DFKD via Synthetic Data (Binici et al., WACV 2022, arXiv:2108.05698).

Inferred: no code of the authors was found, and of the text only the abstract was available. Bank, schedule and losses
are those of a third party's baseline (LRA's repository); that paper and bank belong together is certain.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.replay import ImageBank
from dfkd_lab.recipe import Lab, Recipe, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class MBDFKD:
    """A small bank of images from earlier rounds is rehearsed in every student step, beside what is new."""

    citation: ClassVar[str] = "Binici et al., WACV 2022, arXiv:2108.05698"
    certainty: ClassVar[str] = "inferred (third-party code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 400},
        "digits": {"rounds": 24, "z_dim": 64, "width": 16, "batch": 128, "cycles": 5, "replayed": 16, "g_lr": 2e-3,
                   "bank_period": 1},
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    confidence: float = vocabulary.confidence(1.0)
    balance: float = vocabulary.balance(5.0, "in base 10")
    activation: float = vocabulary.activation(0.1)
    gap: float = vocabulary.gap(1.0)
    js: str = vocabulary.js("released")
    replayed: int = vocabulary.replayed(128)
    bank_batches: int = knob(10, "batches of that many images the bank holds", low=1, high=100_000, unit="batches")
    bank_period: int = knob(5, "the bank takes a batch every so many rounds", low=1, high=100_000, unit="rounds")
    z_dim: int = vocabulary.z_dim(1000)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(0.02)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(10)
    batch: int = vocabulary.batch(1024, "all new")
    cycles: int = vocabulary.cycles(36)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: the student sees new and stored images in one pass.

        Differs: the bank is uint8, where the third party's is float; the learning rate falls step by step; a resumed
        run keeps its bank.
        """
        priors = parts.priors(self.confidence, self.balance, self.activation)
        return Recipe(
            synthesizer=parts.novel_generator(lab, self.z_dim, self.width, self.batch, self.g_lr),
            terms={**priors, **parts.disagreement(self.gap, self.js)},
            student={"l1": Weighted(1.0, terms.l1)},
            memory=ImageBank(self.replayed, self.bank_batches, self.bank_period, lab.shape, lab.classes),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr),
        )
