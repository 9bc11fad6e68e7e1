"""MAD: Momentum Adversarial Distillation (Do et al., NeurIPS 2022, arXiv:2209.10359).

Inferred: only the abstract, a summary and an excerpt of the appendix were available. Certain are the average of the
generator's weights and the student's two losses, one on the images of each of the two. Second-hand: the average's
formula and 0.95 as its best momentum, a KL, the bound on both players, that the generator is trained before the
student, and of the target class's generator that its input is noise plus embedding. All other weights and settings are
ours, ``bn_gap`` among them: no source mentions batch-norm statistics. The norm penalty of the conditional variant is
left out, because what it is the norm of is unknown.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.methods.common import recipes, settings
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.memories import EMAMemory
from dfkd_lab.primitives.synthesizers import NoiseGenerator
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class MAD:
    """An average of the generator's weights remembers what the generator made before it moved on."""

    citation: ClassVar[str] = "Do et al., NeurIPS 2022, arXiv:2209.10359"
    certainty: ClassVar[str] = "inferred (memory certain, bounds second-hand, settings ours)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "warm_up": 4, "cycles": 8, "z_dim": 64, "width": 32, "batch": 128, "replayed": 128},
        "small_gray": {"rounds": 64, "warm_up": 4, "cycles": 20, "z_dim": 100, "width": 16, "batch": 128,
                       "replayed": 128},
        "cifar": {},
    }  # fmt: skip

    gap: float = settings.gap(1.0, "a bounded KL")
    bound: float = setting(5.0, "largest KL that counts, for both players", low=0, high=1000)
    confidence: float = settings.confidence(1.0, "or of the target class")
    bn_gap: float = settings.bn_gap(1.0)
    conditional: bool = setting(False, "a generator of the target class, as in the paper for large data sets")
    momentum: float = setting(0.95, "share that the averaged generator keeps of itself", low=0, high=0.9999)
    replayed: int = settings.replayed(256)
    past: float = setting(1.0, "share of the replayed images' loss, beside 1 for that of new ones", low=0, high=100)
    temperature: float = settings.temperature(1.0, "for both players")
    z_dim: int = settings.z_dim(256)
    width: int = settings.width(64)
    g_lr: float = settings.g_lr(1e-3)
    s_lr: float = settings.s_lr(0.1)
    s_steps: int = settings.turn_steps(5)
    batch: int = settings.batch(256)
    cycles: int = settings.cycles(50)
    warm_up: int = settings.warm_up(20)

    def compose(self, context: MethodContext) -> Recipe:
        """Fill the slots.

        Inferred: the generator's first rounds are without the game, since nobody plays against it yet.
        """
        divergence = losses.kl(self.temperature)
        wanted = {"label": losses.label} if self.conditional else {"confidence": losses.confidence}
        generator = context.generator(self.z_dim, self.width, "tanh_bn", self.conditional, conditioning="sum")
        classes = context.classes if self.conditional else 0
        synthesizer = NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr, classes=classes)
        return Recipe(
            synthesizer=synthesizer,
            losses={
                "gap": WeightedLoss(self.gap, losses.adversarial(divergence, bound=self.bound), start=self.warm_up),
                **{name: WeightedLoss(self.confidence, loss) for name, loss in wanted.items()},
                "bn_gap": WeightedLoss(self.bn_gap, losses.BatchNormGap(context.batch_norms)),
            },
            student_losses={"kd": WeightedLoss(1.0, losses.bounded(divergence, self.bound))},
            memory=EMAMemory(synthesizer, self.replayed, context.classes, self.momentum, self.past),
            schedule=recipes.game_schedule(self.s_steps, self.cycles, self.batch, self.s_lr, warm_up=self.warm_up),
        )
