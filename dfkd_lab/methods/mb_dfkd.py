"""MB-DFKD: Preventing Catastrophic Forgetting in DFKD via Synthetic Data (Binici et al., WACV 2022, arXiv:2108.05698).

Inferred: no code of the authors was found, and of the text only the abstract was available. Bank, schedule and losses
are those of a third party's baseline (LRA's repository); that paper and bank belong together is certain.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.replay import ImageBank
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
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
    }  # fmt: skip

    confidence: float = knob(1.0, "weight of the one-hot loss", low=0, high=100)
    balance: float = knob(5.0, "weight of the negative batch entropy in base 10", low=0, high=100)
    activation: float = knob(0.1, "weight of the feature activation", low=0, high=100)
    gap: float = knob(1.0, "weight of the teacher-student divergence the generator seeks", low=0, high=100)
    js: str = knob("released", "the divergence: the true JS, or what PRE-DFKD's released code computes",
                   choices=("true", "released"))  # fmt: skip
    replayed: int = knob(128, "images of the bank in a student step, beside the new ones", low=2, high=65_536,
                         unit="images")  # fmt: skip
    bank_batches: int = knob(10, "batches of that many images the bank holds", low=1, high=100_000, unit="batches")
    bank_period: int = knob(5, "the bank takes a batch every so many rounds", low=1, high=100_000, unit="rounds")
    z_dim: int = knob(1000, "length of the noise", low=1, high=10_000)
    width: int = knob(64, "channels of the generator's last hidden layer", low=1, high=1024)
    g_lr: float = knob(0.02, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(10, "student steps for one generator step", low=1, high=1000, unit="steps")
    batch: int = knob(1024, "new images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(36, "turns of generator and student in a round", low=1, high=10_000)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: the student sees new and stored images in one pass.

        Differs: the bank is uint8, where the third party's is float; the learning rate falls step by step; a resumed
        run keeps its bank.
        """
        return Recipe(
            synthesizer=NoiseGenerator(
                lab.generator(self.z_dim, self.width, "tanh_bn", spectral=True, eps=0.8),
                self.batch, self.z_dim, lr=self.g_lr,
            ),
            terms={
                "confidence": Weighted(self.confidence, terms.confidence),
                "balance": Weighted(self.balance, terms.balance(base=10)),
                "activation": Weighted(self.activation, terms.activation),
                "gap": Weighted(self.gap, terms.against(terms.js(3.0, self.js))),
            },
            student={"l1": Weighted(1.0, terms.l1)},
            memory=ImageBank(self.replayed, self.bank_batches, self.bank_period, lab.shape, lab.classes),
            schedule=Schedule(
                g_steps=1, s_steps=self.s_steps, cycles=self.cycles, batch=self.batch, s_lr=self.s_lr,
                weight_decay=5e-4, student_mode="train",
            ),
        )  # fmt: skip
