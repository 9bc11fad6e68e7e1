"""MAD: Momentum Adversarial Distillation (Do et al., NeurIPS 2022, arXiv:2209.10359).

Inferred: only the abstract, a summary and an excerpt of the appendix were available. Certain are the averaged
generator, its momentum, the student's two losses, the bound on both players and that the generator is trained before
the student; all other weights and settings are ours. The norm penalty of the conditional variant is left out, because
what it is the norm of is unknown.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from dfkd_lab import parts, vocabulary
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.replay import EMAMemory
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.recipe import Lab, Recipe, Weighted
from dfkd_lab.spec import knob


@dataclass(frozen=True)
class MAD:
    """An average of the generator's weights remembers what the generator made before it moved on."""

    citation: ClassVar[str] = "Do et al., NeurIPS 2022, arXiv:2209.10359"
    certainty: ClassVar[str] = "inferred (memory and bounded game certain, settings ours)"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rounds": 220},
        "digits": {"rounds": 34, "warm_up": 4, "cycles": 8, "z_dim": 64, "width": 32, "batch": 128, "replayed": 128},
        "cifar10": {},
        "cifar100": {},
    }

    gap: float = vocabulary.gap(1.0, "a bounded KL")
    bound: float = knob(5.0, "largest KL that counts, for both players", low=0, high=1000)
    confidence: float = vocabulary.confidence(1.0, "or of the label asked for")
    bn_gap: float = vocabulary.bn_gap(1.0)
    conditional: bool = knob(False, "ask the generator for labels, as the paper does for large data sets")
    momentum: float = knob(0.95, "share that the averaged generator keeps of itself", low=0, high=0.9999)
    replayed: int = vocabulary.replayed(256)
    past: float = knob(1.0, "share of the replayed images' loss, beside 1 for that of new ones", low=0, high=100)
    temperature: float = vocabulary.temperature(1.0, "for both players")
    z_dim: int = vocabulary.z_dim(256)
    width: int = vocabulary.width(64)
    g_lr: float = vocabulary.g_lr(1e-3)
    s_lr: float = vocabulary.s_lr(0.1)
    s_steps: int = vocabulary.turn_steps(5)
    batch: int = vocabulary.batch(256)
    cycles: int = vocabulary.cycles(50)
    warm_up: int = vocabulary.warm_up(20)

    def compose(self, lab: Lab) -> Recipe:
        """Fill the slots.

        Inferred: the generator's first rounds are without the game, since nobody plays against it yet.
        """
        divergence = terms.kl(self.temperature)
        asked = {"label": terms.label} if self.conditional else {"confidence": terms.confidence}
        generator = lab.generator(self.z_dim, self.width, "tanh_bn", self.conditional, conditioning="sum")
        classes = lab.classes if self.conditional else 0
        synthesizer = NoiseGenerator(generator, self.batch, self.z_dim, lr=self.g_lr, classes=classes)
        return Recipe(
            synthesizer=synthesizer,
            terms={
                "gap": Weighted(self.gap, terms.against(divergence, bound=self.bound), start=self.warm_up),
                **{name: Weighted(self.confidence, term) for name, term in asked.items()},
                "bn_gap": Weighted(self.bn_gap, terms.BatchNormGap(lab.norms)),
            },
            student={"kd": Weighted(1.0, terms.bounded(divergence, self.bound))},
            memory=EMAMemory(synthesizer, self.replayed, lab.classes, self.momentum, self.past),
            schedule=parts.game(self.s_steps, self.cycles, self.batch, self.s_lr, warm_up=self.warm_up),
        )
