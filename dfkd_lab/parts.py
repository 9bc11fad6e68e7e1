"""Parts of recipes that several methods share."""

from __future__ import annotations

from typing import Any

from dfkd_lab.primitives import regions as activation_maps
from dfkd_lab.primitives import terms
from dfkd_lab.primitives.synthesis import NoiseGenerator
from dfkd_lab.primitives.terms import Term
from dfkd_lab.recipe import Lab, Schedule, Weighted


def priors(confidence: float, balance: float, activation: float) -> dict[str, Weighted]:
    """What DAFL asks of a batch: one-hot predictions, evenly spread (entropy in base 10), and active features."""
    return {
        "confidence": Weighted(confidence, terms.confidence),
        "balance": Weighted(balance, terms.balance(base=10)),
        "activation": Weighted(activation, terms.activation),
    }


def disagreement(gap: float, js: str = "true") -> dict[str, Weighted]:
    """What DeepInversion, MB-DFKD and PRE-DFKD ask beside: a JS divergence of teacher and student at temperature 3."""
    return {"gap": Weighted(gap, terms.against(terms.js(3.0, js)))}


def noise_generator(
    lab: Lab, z_dim: int, width: int, batch: int, lr: float, fade: int = 0, **details: Any
) -> NoiseGenerator:
    """DAFL's and DFAD's generator with its Adam; ``details`` are those of :class:`~dfkd_lab.nets.Generator`."""
    return NoiseGenerator(lab.generator(z_dim, width, "tanh_bn", **details), batch, z_dim, lr=lr, fade=fade)


def novel_generator(lab: Lab, z_dim: int, width: int, batch: int, lr: float) -> NoiseGenerator:
    """PRE-DFKD's generator of what is new: spectral norm on its convolutions, 0.8 as eps of its inner batch norms."""
    return noise_generator(lab, z_dim, width, batch, lr, spectral=True, eps=0.8)


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


def phases(g_steps: int, s_steps: int, batch: int, s_lr: float, warm_up: int) -> Schedule:
    """``g_steps`` on one batch of images, then ``s_steps`` of the student, whose rate falls to 1/1000 (FastDFKD)."""
    return Schedule(g_steps=g_steps, s_steps=s_steps, batch=batch, warm_up=warm_up, s_lr=s_lr, s_lr_floor=s_lr / 1000)


def no_synthesis(s_steps: int, batch: int, s_lr: float) -> Schedule:
    """Student steps only, on images that are there already (references and controls)."""
    return Schedule(g_steps=0, s_steps=s_steps, batch=batch, s_lr=s_lr, weight_decay=5e-4)


def game(s_steps: int, cycles: int, batch: int, s_lr: float, **more: Any) -> Schedule:
    """One step of the generator, then ``s_steps`` of the student, ``cycles`` times a round (DFAD and its relatives)."""
    usual = {"weight_decay": 5e-4, "student_mode": "train", **more}
    return Schedule(g_steps=1, s_steps=s_steps, cycles=cycles, batch=batch, s_lr=s_lr, **usual)


def regions(lab: Lab, temperature: float, cam: float, grad_cam: float) -> dict[str, Weighted]:
    """What SpaceshipNet and FSSC ask of the student: the teacher's answers, a mean over classes too, and its regions.

    A weight of 0 needs neither a classifier layer nor stages.
    """
    if cam:
        _ = lab.heads  # refuses networks without one
    stages = lab.stages if cam or grad_cam else 0
    return {
        "kd": Weighted(1 / lab.classes, terms.kl(temperature)),
        "cam": Weighted(cam, activation_maps.cam(lab.observer)),
        "grad_cam": Weighted(grad_cam, activation_maps.grad_cam(stages)),
    }
