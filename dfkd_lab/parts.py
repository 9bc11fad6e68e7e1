"""Parts of recipes that several methods share."""

from __future__ import annotations

from typing import Any

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.terms import Term
from dfkd_lab.recipe import Lab, Schedule, Weighted


def priors(confidence: float, balance: float, activation: float) -> dict[str, Weighted]:
    """What DAFL asks of a batch: one-hot predictions, evenly spread (entropy in base 10), and active features."""
    return {
        "confidence": Weighted(confidence, terms.confidence),
        "balance": Weighted(balance, terms.balance(base=10)),
        "activation": Weighted(activation, terms.activation),
    }


def inversion(
    lab: Lab, label: float, bn_gap: float, gap: float, *, momentum: float = 0.0, start: int = 0,
    asked: Term = terms.label,
) -> dict[str, Weighted]:  # fmt: skip
    """What CMI and its followers ask of a batch: labels, batch-norm statistics, and disagreement where both agree.

    ``asked`` is the term of the label; ``momentum`` averages the statistics over rounds (FastDFKD); the disagreement,
    a KL on samples that teacher and student put into the same class, counts from round ``start`` on.
    """
    return {
        "label": Weighted(label, asked),
        "bn_gap": Weighted(bn_gap, terms.BatchNormGap(lab.norms, momentum)),
        "gap": Weighted(gap, terms.against(terms.kl(), agreeing=True), start=start),
    }


def game(s_steps: int, cycles: int, batch: int, s_lr: float, **more: Any) -> Schedule:
    """One step of the generator, then ``s_steps`` of the student, ``cycles`` times a round (DFAD and its relatives)."""
    usual = {"weight_decay": 5e-4, "student_mode": "train", **more}
    return Schedule(g_steps=1, s_steps=s_steps, cycles=cycles, batch=batch, s_lr=s_lr, **usual)
