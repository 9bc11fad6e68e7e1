"""PRE-DFKD: Robust and Resource-Efficient Data-Free KD by Pseudo Replay (Binici et al., AAAI 2022, arXiv:2201.03019).

Certain for the authors' code; the paper's text was not available, and its settings per data set are not in the code.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.nets import Encoder
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import VAEMemory
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class PREDFKD:
    """A second generator, a VAE, remembers what the first one made, and replays it beside what is new."""

    citation: ClassVar[str] = "Binici et al., AAAI 2022, arXiv:2201.03019"
    certainty: ClassVar[str] = "certain (released code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 400},
        "digits": {"rounds": 24, "z_dim": 64, "width": 16, "batch": 128, "cycles": 5, "replayed": 16,
                   "g_lr": 2e-3},
        "small_gray": {"rounds": 60, "z_dim": 100, "width": 16, "batch": 128, "cycles": 10, "replayed": 16,
                       "g_lr": 2e-3},
        "cifar": {},
    }  # fmt: skip

    confidence: float = settings.confidence(1.0, "also for the codes of the replay")
    balance: float = settings.balance(5.0, "in base 10, also for the codes")
    activation: float = settings.activation(0.1)
    gap: float = settings.gap(1.0)
    js: str = settings.js("released")
    replayed: int = settings.replayed(128)
    reconstruction: str = setting("logits", "what the VAE preserves: pixels, or pixels and the teacher's logits",
                               choices=("pixel", "logits"), of="vae_steps")  # fmt: skip
    prior: float = setting(1e-5, "factor of the VAE's KL to its prior", low=0, high=1, of="vae_steps")
    vae_lr: float = setting(5e-4, "learning rate of the VAE (Adam)", low=0, high=1, of="vae_steps")
    vae_steps: int = setting(4, "student steps of a turn after which the VAE takes one too", low=0, high=1000,
                          unit="steps")  # fmt: skip
    z_lr: float = setting(0.02, "learning rate of the codes of the replay (Adam)", low=0, high=10, of="z_steps")
    z_steps: int = setting(1, "steps on the codes before they are decoded", low=0, high=1000, unit="steps")
    z_dim: int = settings.z_dim(1000, "and of the VAE's code")
    width: int = settings.width(64, "and of the decoder's")
    g_lr: float = settings.g_lr(0.02)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.turn_steps(10)
    batch: int = settings.batch(1024, "all new")
    cycles: int = settings.cycles(36)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: the student sees new and replayed images in one pass.

        Differs: tuning the codes leaves the decoder alone (its gradient leaks in the authors' code); weights start as
        torch's layers do; the learning rate falls step by step, not once a round.
        """
        decoder = context.generator(self.z_dim, self.width, "tanh_bn", eps=0.8)
        priors = recipes.dafl_losses(self.confidence, self.balance, self.activation)
        return Recipe(
            synthesizer=recipes.novel_generator(context, self.z_dim, self.width, self.batch, self.g_lr),
            losses={**priors, **recipes.js_gap(self.gap, self.js)},
            student_losses={"l1": WeightedLoss(1.0, losses.l1)},
            memory=VAEMemory(
                decoder, Encoder(self.z_dim, context.shape, self.width), context.observer, self.replayed, self.z_dim,
                context.classes,
                confidence=self.confidence, balance=self.balance, z_lr=self.z_lr, z_steps=self.z_steps,
                lr=self.vae_lr, steps=self.vae_steps, prior=self.prior, reconstruction=self.reconstruction,
            ),
            schedule=recipes.game_schedule(self.s_steps, self.cycles, self.batch, self.s_lr),
        )  # fmt: skip
