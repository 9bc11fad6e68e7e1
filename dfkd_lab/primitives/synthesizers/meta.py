"""A generator that starts each phase from what the phases before have learned (FastDFKD)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.nets.generators import draw_latent
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers.base import Best, Labels, draw_labels


class MetaGenerator(nn.Module):
    """Noise -> generator, both trained on a clone that starts each phase from a meta-learned generator (FastDFKD).

    A phase draws noise and labels, runs Adam on (clone, noise) and keeps the lowest-loss images; at its end the
    generator itself takes one Adam step of its own, with the sum of the clone's gradients ("fomaml") or with its
    difference from the clone ("reptile"), or becomes the clone ("none").

    Args:
        net: Noise [N, Z] -> images [N, C, H, W].
        n: Images of a phase.
        z_dim: Z.
        classes: K.
        lr: Of the clone's Adam.
        z_lr: Of the noise in it.
        meta_lr: Of the generator's own Adam. A phase's gradients are summed and Adam does not mind their size, so that
            the phase's length is in this rate: FastDFKD has ``lr`` times the number of steps for "fomaml".
        meta: "fomaml", "reptile" or "none".
        labels: How target labels are drawn, see :func:`~dfkd_lab.primitives.synthesizers.base.draw_labels`.
        betas: Of both Adams.
    """

    labelled, sample_labelled, can_sample = True, False, True

    def __init__(
        self,
        net: nn.Module,
        n: int,
        z_dim: int,
        classes: int,
        *,
        lr: float,
        z_lr: float,
        meta_lr: float,
        meta: str = "fomaml",
        labels: Labels = "random",
        betas: tuple[float, float] = (0.5, 0.999),
    ):
        super().__init__()
        self.net, self.n, self.z_dim, self.classes = net, n, z_dim, classes
        self.lr, self.z_lr, self.meta, self.labels, self.betas = lr, z_lr, meta, labels, betas
        self.clone = copy.deepcopy(net)
        self.optimizer = torch.optim.Adam(net.parameters(), lr=meta_lr, betas=betas, fused=True)
        self.best = Best()

    def open(self) -> None:
        """Put the clone back to the generator; draw noise and labels; forget the inner optimizer."""
        self.clone.load_state_dict(self.net.state_dict())
        device = next(self.net.parameters()).device
        self.code = draw_latent(self.net, self.n, self.z_dim, device).requires_grad_()
        self.targets = draw_labels(self.n, self.classes, self.labels, device)
        groups: list[dict[str, Any]] = [
            {"params": list(self.clone.parameters())},
            {"params": [self.code], "lr": self.z_lr},
        ]
        self.inner = torch.optim.Adam(groups, lr=self.lr, betas=self.betas, fused=True)
        self.optimizer.zero_grad()  # fomaml sums the phase's gradients there

    def render(self) -> Batch:
        """The clone's images of this phase's noise."""
        self._rendered = Batch(self.clone(self.code), self.targets)
        return self._rendered

    def step(self, loss: Tensor, observation: Observation) -> None:
        """One inner Adam step; its gradient is added to the generator's."""
        self.best.offer(loss, self._rendered, observation)
        del self._rendered
        loss.backward()
        if self.meta == "fomaml":
            for outer, inner in zip(self.net.parameters(), self.clone.parameters(), strict=True):
                assert inner.grad is not None
                outer.grad = inner.grad.clone() if outer.grad is None else outer.grad.add_(inner.grad)
        self.inner.step()
        self.inner.zero_grad()

    def close(self) -> Batch:
        """Move the generator; the images with the lowest loss."""
        if self.meta == "none":
            self.net.load_state_dict(self.clone.state_dict())
        else:
            if self.meta == "reptile":
                for outer, inner in zip(self.net.parameters(), self.clone.parameters(), strict=True):
                    outer.grad = (outer - inner).detach()  # Adam then steps towards the clone
            self.optimizer.step()
        return self.best.take()

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """``n`` new images from new noise through the generator."""
        return Batch(self.net(draw_latent(self.net, n, self.z_dim, next(self.net.parameters()).device)))

    def get_extra_state(self) -> dict[str, Any]:
        """The meta optimizer's state; the inner one lives for one phase only."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`get_extra_state` gave."""
        self.optimizer.load_state_dict(state)
