"""Parts of recipes that several methods share."""

from __future__ import annotations

from functools import partial
from typing import Any

from dfkd_lab.engine.recipe import MethodContext, Schedule, WeightedLoss
from dfkd_lab.engine.schedules import learning_rate
from dfkd_lab.errors import SpecError
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.losses import Loss
from dfkd_lab.primitives.losses import cam as activation_maps
from dfkd_lab.primitives.synthesizers import MetaGenerator, NoiseGenerator

DENSE_STUDENT = {"rounds": 72, "s_steps": 12, "batch": 32, "optimizer": "adam", "s_lr": 5e-3}
"""References where every pixel has a class: as many student steps as :data:`DENSE` has after its warm-up."""
DENSE = {
    **{"rounds": 90, "z_dim": 64, "width": 32, "batch": 32, "g_steps": 5, "s_steps": 12, "warm_up": 18, "g_lr": 3e-3},
    **{"label": 0.5, "bn_gap": 1.0, "gap": 0.5, "bn_momentum": 0.0, "temperature": 1.0, "padding": 0, "flip": False},
    **{"terms": "balance=11.5", "optimizer": "adam", "s_lr": 5e-3},
}
"""FastDFKD and its followers where every pixel has a class. Inferred: no paper says what stands for the target class;
here confidence, and a balance over all pixels (11.5 in base 10 is 5 in nats). Tried on scenes of 32 pixels."""


def dafl_losses(confidence: float, balance: float, activation: float) -> dict[str, WeightedLoss]:
    """DAFL's losses of a batch: one-hot predictions, evenly spread (entropy in base 10), and active features."""
    return {
        "confidence": WeightedLoss(confidence, losses.confidence),
        "balance": WeightedLoss(balance, losses.balance(base=10)),
        "activation": WeightedLoss(activation, losses.activation),
    }


def js_gap(gap: float, form: str = "true") -> dict[str, WeightedLoss]:
    """The gap of DeepInversion, MB-DFKD and PRE-DFKD: a JS divergence of teacher and student at temperature 3."""
    return {"gap": WeightedLoss(gap, losses.adversarial(losses.js(3.0, form)))}


def inversion_losses(
    context: MethodContext, label: float, bn_gap: float, gap: float, *, momentum: float = 0.0, start: int = 0,
    label_loss: Loss | None = None,
) -> dict[str, WeightedLoss]:  # fmt: skip
    """The losses of CMI and its followers: target class, batch-norm statistics, and a gap where both networks agree.

    Where every pixel has a class, ``label`` has :func:`loss_of_label`.

    ``momentum`` averages the statistics over rounds (FastDFKD); the gap, a KL on samples that teacher and student put
    into the same class, counts from round ``start`` on, the first being 0.
    """
    return {
        "label": WeightedLoss(label, label_loss or loss_of_label(context)),
        "bn_gap": WeightedLoss(bn_gap, losses.BatchNormGap(context.batch_norms, momentum)),
        "gap": WeightedLoss(gap, losses.adversarial(losses.kl(), agreeing=True), start=start),
    }


def loss_of_label(context: MethodContext) -> Loss:
    """The cross entropy to the target class; inferred, where every pixel has a class, that to the teacher's own of it.

    In no paper's segmentation is it known what FastDFKD and its followers do for the target class.
    """
    return losses.confidence if context.pixel_classes else losses.label


def refuse_target_class(context: MethodContext, modulate: str) -> None:
    """Refuse to ``modulate`` by the class that was asked for where every pixel has one, and none was asked for.

    Raises:
        SpecError: saying what is allowed.
    """
    if context.pixel_classes and modulate == "target":
        raise SpecError(
            "modulate = 'target' goes by the class that was asked for, and none is where every pixel has a class; "
            "allowed: 'confidence'"
        )


def meta_generator(
    context: MethodContext, z_dim: int, width: int, batch: int, lr: float, z_lr: float, steps: int,
    meta: str = "fomaml", meta_lr: float = 0.0,
) -> MetaGenerator:  # fmt: skip
    """FastDFKD's generator, meta-learned over the rounds; without a ``meta_lr`` by ``lr`` times ``steps``."""
    net, meta_lr = context.generator(z_dim, width), meta_lr or lr * steps
    return MetaGenerator(net, batch, z_dim, context.classes, lr=lr, z_lr=z_lr, meta_lr=meta_lr, meta=meta)


def cam_losses(context: MethodContext, temperature: float, cam: float, grad_cam: float) -> dict[str, WeightedLoss]:
    """The student's losses of SpaceshipNet and FSSC: a KL divided by the number of classes, and where it looks.

    A Grad-CAM of weight 0 needs no stages; whether a CAM can be taken is seen where its weight is known
    (:class:`~dfkd_lab.engine.composed.ComposedRun`).
    """
    stages = context.stages if grad_cam else 0
    return {
        "kd": WeightedLoss(1 / context.classes, losses.kl(temperature)),
        "cam": WeightedLoss(cam, activation_maps.class_activation_maps(context.observer)),
        "grad_cam": WeightedLoss(grad_cam, activation_maps.grad_cam(stages)),
    }


def milestones(decay: str, *steps: float) -> tuple[float, ...] | None:
    """Where rates fall to a tenth, as :class:`~dfkd_lab.engine.recipe.Schedule` has it, for the setting ``decay``.

    ``steps`` are the paper's, as shares of the run.
    """
    return {"steps": steps, "thirds": (1 / 3, 2 / 3), "cosine": None, "none": ()}[decay]


def noise_generator(
    context: MethodContext, z_dim: int, width: int, batch: int, lr: float, **details: Any
) -> NoiseGenerator:
    """DAFL's and DFAD's generator with its Adam; ``details`` are those of :class:`~dfkd_lab.nets.Generator`."""
    return NoiseGenerator(context.generator(z_dim, width, "tanh_bn", **details), batch, z_dim, lr=lr)


def dfad_generator(
    context: MethodContext, z_dim: int, width: int, batch: int, lr: float, cycles: int, decay: str
) -> NoiseGenerator:
    """DFAD's generator, one step a cycle; its learning rate falls with the student's."""
    rate = partial(learning_rate, start=lr, milestones=dfad_steps(decay))
    net = context.generator(z_dim, width, "tanh_bn")
    return NoiseGenerator(net, batch, z_dim, lr=lr, fade=context.rounds * cycles, rate=rate)


def dfad_steps(decay: str) -> tuple[float, ...] | None:
    """Where DFAD's rates fall: at epochs 100 and 200, of 500 on CIFAR ("steps"), of 300 elsewhere ("thirds")."""
    return milestones(decay, 0.2, 0.4)


def novel_generator(context: MethodContext, z_dim: int, width: int, batch: int, lr: float) -> NoiseGenerator:
    """PRE-DFKD's generator of what is new: spectral norm on its convolutions, 0.8 as eps of its inner batch norms."""
    return noise_generator(context, z_dim, width, batch, lr, spectral=True, eps=0.8)


def phase_schedule(g_steps: int, s_steps: int, batch: int, s_lr: float, warm_up: int) -> Schedule:
    """``g_steps`` on one batch of images, then ``s_steps`` of the student, whose rate falls to 1/1000 (FastDFKD)."""
    return Schedule(g_steps=g_steps, s_steps=s_steps, batch=batch, warm_up=warm_up, s_lr=s_lr, s_lr_floor=s_lr / 1000)


def no_synthesis(s_steps: int, batch: int, s_lr: float) -> Schedule:
    """Student steps only, on images that are there already (references and controls)."""
    return Schedule(g_steps=0, s_steps=s_steps, batch=batch, s_lr=s_lr, weight_decay=5e-4)


def game_schedule(s_steps: int, cycles: int, batch: int, s_lr: float, **more: Any) -> Schedule:
    """One step of the generator, then ``s_steps`` of the student, ``cycles`` times a round (DFAD and its relatives)."""
    usual = {"weight_decay": 5e-4, "student_mode": "train", **more}
    return Schedule(g_steps=1, s_steps=s_steps, cycles=cycles, batch=batch, s_lr=s_lr, **usual)
