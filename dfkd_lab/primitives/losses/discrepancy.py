"""Discrepancies of teacher and student: the student's loss, and with the sign turned the generator's in the game.

Of dense predictions [N, K, H, W] a discrepancy of an image is the mean over its pixels, never the sum: the field's
``batchmean`` is larger by H W there.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dfkd_lab.primitives.losses.base import LossFunction, needs, needs_of, per_sample
from dfkd_lab.primitives.observer import Observation


def kl(temperature: float = 1.0) -> LossFunction:
    """tau^2 KL(teacher || student) at temperature tau, summed over classes (Hinton et al., arXiv:1503.02531).

    Args:
        temperature: tau, above 0.

    Returns:
        A loss that gives [N], in nats.
    """

    @per_sample
    @needs("student")
    def divergence(observation: Observation) -> Tensor:
        assert observation.student is not None
        teacher = F.log_softmax(observation.logits / temperature, 1)
        student = F.log_softmax(observation.student / temperature, 1)
        # tau^2, because gradients of softened logits shrink by that
        return F.kl_div(student, teacher, reduction="none", log_target=True).sum(1) * temperature**2

    return divergence


@per_sample
@needs("student")
def l1(observation: Observation) -> Tensor:
    """Mean absolute difference of the logits (DFAD).

    Returns:
        The loss [N].
    """
    assert observation.student is not None
    return (observation.student - observation.logits).abs().mean(1)


def js(temperature: float = 3.0, form: str = "true") -> LossFunction:
    """Jensen-Shannon divergence of teacher and student.

    Args:
        temperature: Of both predictions, above 0.
        form: "true", in nats from 0 to log 2; "released" is what PRE-DFKD's code computes in its place: half of
            KL(M||P) + KL(M||Q) of probabilities clamped to [0.01, 0.99], as a mean over classes, without gradient
            through the teacher. Its clip at 1 is left out: the mean over classes stays below.

    Returns:
        A loss that gives [N].

    Differs: DeepInversion's code sums the same over classes; here it gets the true one.
    """

    @per_sample
    @needs("student")
    def divergence(observation: Observation) -> Tensor:
        assert observation.student is not None
        p, q = (observation.logits / temperature).softmax(1), (observation.student / temperature).softmax(1)
        if form == "released":
            return _released_js(p.detach(), q)  # as released: the generator's gradient goes through the student alone
        entropy = torch.special.entr
        return (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).sum(1)

    return divergence


def _released_js(p: Tensor, q: Tensor) -> Tensor:
    p, q, middle = (each.clamp(0.01, 0.99) for each in (p, q, (p + q) / 2))
    return (middle * (middle.log() - (p.log() + q.log()) / 2)).mean(1)


def bounded(discrepancy: LossFunction, bound: float) -> LossFunction:
    """min(D, bound): beyond it a difference counts and gives no gradient (MAD, both players).

    Args:
        discrepancy: D, gives [N].
        bound: In the units of D.

    Returns:
        A loss that gives [N].
    """
    discrepancy = getattr(discrepancy, "per_pixel", discrepancy)

    @per_sample
    @needs(*needs_of(discrepancy))
    def clipped(observation: Observation) -> Tensor:
        return discrepancy(observation).clamp(max=bound)

    return clipped


def adversarial(discrepancy: LossFunction, agreeing: bool = False, bound: float = math.inf) -> LossFunction:
    """The generator's side of the game: -mask * min(D, bound), so that it seeks what the student gets wrong.

    Args:
        discrepancy: D, the student's loss, gives [N].
        agreeing: Whether only samples count on which teacher and student predict the same class (CMI, FastDFKD); the
            others give 0. Of dense predictions it is decided pixel by pixel.
        bound: Of D, see :func:`bounded`.

    Returns:
        A loss that gives [N].
    """
    clipped = bounded(discrepancy, bound).per_pixel  # type: ignore[attr-defined]

    @per_sample
    @needs("student")
    def gap(observation: Observation) -> Tensor:
        assert observation.student is not None
        # where they already disagree the game is won, and the image may be off every class
        same = observation.student.argmax(1) == observation.logits.argmax(1)
        return -clipped(observation) * (same if agreeing else 1)

    return gap
