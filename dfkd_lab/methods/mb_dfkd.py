"""MB-DFKD: Preventing Catastrophic Forgetting in DFKD via Synthetic Data (Binici et al., WACV 2022, arXiv:2108.05698).

Inferred: no code of the authors was found, and of the text only the abstract was available. Bank, schedule and losses
are those of a third party's baseline (LRA's repository); that paper and bank belong together is certain.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import ImageBank
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class MBDFKD:
    """A small bank of images from earlier rounds is rehearsed in every student step, beside what is new."""

    citation: ClassVar[str] = "Binici et al., WACV 2022, arXiv:2108.05698"
    certainty: ClassVar[str] = "inferred (third-party code)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 400},
        "digits": {"rounds": 24, "z_dim": 64, "width": 16, "batch": 128, "cycles": 5, "replayed": 16, "g_lr": 2e-3,
                   "bank_period": 1},
        "small_gray": {"rounds": 60, "z_dim": 100, "width": 16, "batch": 128, "cycles": 10, "replayed": 16,
                       "g_lr": 2e-3},
        "cifar": {},
    }  # fmt: skip

    confidence: float = settings.confidence(1.0)
    balance: float = settings.balance(5.0, "in base 10")
    activation: float = settings.activation(0.1)
    gap: float = settings.gap(1.0)
    js: str = settings.js("released")
    replayed: int = settings.replayed(128)
    bank_batches: int = setting(10, "batches of that many images the bank holds", low=1, high=100_000, unit="batches")
    bank_period: int = setting(5, "the bank takes a batch every so many rounds", low=1, high=100_000, unit="rounds")
    z_dim: int = settings.z_dim(1000)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(0.02)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.turn_steps(10)
    batch: int = settings.batch(1024, "all new")
    cycles: int = settings.cycles(36)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots: the student sees new and stored images in one pass.

        Differs: the bank is uint8, where the third party's is float; the learning rate falls step by step; a resumed
        run keeps its bank.
        """
        priors = recipes.dafl_losses(self.confidence, self.balance, self.activation)
        return Recipe(
            synthesizer=recipes.novel_generator(context, self.z_dim, self.width, self.batch, self.g_lr),
            losses={**priors, **recipes.js_gap(self.gap, self.js)},
            student_losses={"l1": WeightedLoss(1.0, losses.l1)},
            memory=ImageBank(self.replayed, self.bank_batches, self.bank_period, context.shape, context.classes),
            schedule=recipes.game_schedule(self.s_steps, self.cycles, self.batch, self.s_lr),
        )
