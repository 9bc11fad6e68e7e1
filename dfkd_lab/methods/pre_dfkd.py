"""PRE-DFKD: Robust and Resource-Efficient Data-Free KD by Pseudo Replay (Binici et al., AAAI 2022, arXiv:2201.03019).

Certain for the authors' code; the paper's text was not available, and its settings per data set are not in the code.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.nets import Encoder
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.replay import VAEMemory
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Schedule, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class PREDFKD:
    """A second generator, a VAE, remembers what the first one made, and replays it beside what is new."""

    citation: ClassVar[str] = "Binici et al., AAAI 2022, arXiv:2201.03019"
    certainty: ClassVar[str] = "certain (released code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 400},
        "digits": {"rounds": 24, "z_dim": 64, "width": 16, "batch": 128, "cycles": 5, "replayed": 16,
                   "g_lr": 2e-3},
    }  # fmt: skip

    confidence: float = knob(1.0, "weight of the one-hot loss, also for the codes of the replay", low=0, high=100)
    balance: float = knob(5.0, "weight of the negative batch entropy in base 10, also for the codes", low=0, high=100)
    activation: float = knob(0.1, "weight of the feature activation", low=0, high=100)
    gap: float = knob(1.0, "weight of the teacher-student divergence the generator seeks", low=0, high=100)
    js: str = knob("released", "the divergence: the true JS, or what the released code computes",
                   choices=("true", "released"))  # fmt: skip
    replayed: int = knob(128, "replayed images in a student step, beside the new ones", low=2, high=65_536,
                         unit="images")  # fmt: skip
    reconstruction: str = knob("logits", "what the VAE preserves: pixels, or pixels and the teacher's logits",
                               choices=("pixel", "logits"))  # fmt: skip
    prior: float = knob(1e-5, "factor of the VAE's KL to its prior", low=0, high=1)
    vae_lr: float = knob(5e-4, "learning rate of the VAE (Adam)", low=0, high=1)
    vae_steps: int = knob(4, "student steps of a turn after which the VAE takes one too", low=0, high=1000,
                          unit="steps")  # fmt: skip
    z_lr: float = knob(0.02, "learning rate of the codes of the replay (Adam)", low=0, high=10)
    z_steps: int = knob(1, "steps on the codes before they are decoded", low=0, high=1000, unit="steps")
    z_dim: int = knob(1000, "length of the noise, and of the VAE's code", low=1, high=10_000)
    width: int = knob(64, "channels of the last hidden layer of both generators", low=1, high=1024)
    g_lr: float = knob(0.02, "learning rate of the generator (Adam)", low=0, high=1)
    s_lr: float = knob(0.1, "learning rate of the student (SGD), cosine to 0", low=0, high=1)
    s_steps: int = knob(10, "student steps for one generator step", low=1, high=1000, unit="steps")
    batch: int = knob(1024, "new images a step", low=2, high=65_536, unit="images")
    cycles: int = knob(36, "turns of generator and student in a round", low=1, high=10_000)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: the student sees new and replayed images in one pass.

        Differs: tuning the codes leaves the decoder alone (its gradient leaks in the authors' code); weights start as
        torch's layers do; the learning rate falls step by step, not once a round.
        """
        decoder = lab.generator(self.z_dim, self.width, "tanh_bn", eps=0.8)
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
            memory=VAEMemory(
                decoder, Encoder(self.z_dim, lab.shape, self.width), lab.observer, self.replayed, self.z_dim,
                lab.classes,
                confidence=self.confidence, balance=self.balance, z_lr=self.z_lr, z_steps=self.z_steps,
                lr=self.vae_lr, steps=self.vae_steps, prior=self.prior, reconstruction=self.reconstruction,
            ),
            schedule=Schedule(
                g_steps=1, s_steps=self.s_steps, cycles=self.cycles, batch=self.batch, s_lr=self.s_lr,
                weight_decay=5e-4, student_mode="train",
            ),
        )  # fmt: skip
