"""PRE-DFKD: Robust and Resource-Efficient Data-Free KD by Pseudo Replay (Binici et al., AAAI 2022, arXiv:2201.03019).

Certain for the authors' code; the paper's text was not available, and its settings per data set are not in the code.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.nets import Encoder
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.replay import VAEMemory
from dfkd_lab.recipe import Lab, Recipe, Weighted
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
        "cifar10": {},
        "cifar100": {},
    }  # fmt: skip

    confidence: float = vocabulary.confidence(1.0, "also for the codes of the replay")
    balance: float = vocabulary.balance(5.0, "in base 10, also for the codes")
    activation: float = vocabulary.activation(0.1)
    gap: float = vocabulary.gap(1.0)
    js: str = vocabulary.js("released")
    replayed: int = vocabulary.replayed(128)
    reconstruction: str = knob("logits", "what the VAE preserves: pixels, or pixels and the teacher's logits",
                               choices=("pixel", "logits"))  # fmt: skip
    prior: float = knob(1e-5, "factor of the VAE's KL to its prior", low=0, high=1)
    vae_lr: float = knob(5e-4, "learning rate of the VAE (Adam)", low=0, high=1)
    vae_steps: int = knob(4, "student steps of a turn after which the VAE takes one too", low=0, high=1000,
                          unit="steps")  # fmt: skip
    z_lr: float = knob(0.02, "learning rate of the codes of the replay (Adam)", low=0, high=10)
    z_steps: int = knob(1, "steps on the codes before they are decoded", low=0, high=1000, unit="steps")
    z_dim: int = vocabulary.z_dim(1000, "and of the VAE's code")
    width: int = vocabulary.width(64, "and of the decoder's")
    g_lr: float = vocabulary.g_lr(0.02)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(10)
    batch: int = vocabulary.batch(1024, "all new")
    cycles: int = vocabulary.cycles(36)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots: the student sees new and replayed images in one pass.

        Differs: tuning the codes leaves the decoder alone (its gradient leaks in the authors' code); weights start as
        torch's layers do; the learning rate falls step by step, not once a round.
        """
        decoder = lab.generator(self.z_dim, self.width, "tanh_bn", eps=0.8)
        priors = parts.priors(self.confidence, self.balance, self.activation)
        return Recipe(
            synthesizer=parts.novel_generator(lab, self.z_dim, self.width, self.batch, self.g_lr),
            terms={**priors, **parts.disagreement(self.gap, self.js)},
            student={"l1": Weighted(1.0, terms.l1)},
            memory=VAEMemory(
                decoder, Encoder(self.z_dim, lab.shape, self.width), lab.observer, self.replayed, self.z_dim,
                lab.classes,
                confidence=self.confidence, balance=self.balance, z_lr=self.z_lr, z_steps=self.z_steps,
                lr=self.vae_lr, steps=self.vae_steps, prior=self.prior, reconstruction=self.reconstruction,
            ),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr),
        )  # fmt: skip
