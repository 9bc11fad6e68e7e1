"""A generator that is trained throughout, on new noise each step (DAFL, DFAD, DFQ, ZSKT)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.nets.generators import draw_latent
from dfkd_lab.primitives.batch import Batch, class_and_shares
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers.base import Labels, draw_labels


class NoiseGenerator(nn.Module):
    """Noise -> generator, the generator trained, new noise each step (DAFL, DFAD, DFQ).

    The generator stays in train mode, also when it feeds the student, as in the methods' code.

    Args:
        net: Noise [N, Z] -> images [N, C, H, W]; with ``classes`` it takes (noise, labels).
        n: Images of a step.
        z_dim: Z.
        lr: Of Adam.
        betas: Of Adam.
        classes: K, where target labels are drawn too; 0 draws none.
        labels: How they are drawn, see :func:`~dfkd_lab.primitives.synthesizers.base.draw_labels`.
        clip: The largest norm of the gradient; None leaves it.
        hold: Whether samples come from the noise of the last step, through the generator as it is since then (ZSKT).
        fade: Steps over which the learning rate falls; 0 keeps it.
        rate: The learning rate at a share of ``fade``, in [0, 1].
    """

    can_sample = True

    def __init__(
        self,
        net: nn.Module,
        n: int,
        z_dim: int,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        classes: int = 0,
        labels: Labels = "balanced",
        clip: float | None = None,
        hold: bool = False,
        fade: int = 0,
        rate: Callable[[float], float] | None = None,
    ):
        super().__init__()
        self.net, self.n, self.z_dim = net, n, z_dim
        self.classes, self.labels, self.clip, self.hold = classes, labels, clip, hold
        self.labelled = self.sample_labelled = bool(classes)
        self.fade, self.rate, self.steps = fade, rate, 0
        self.optimizer = torch.optim.Adam(net.parameters(), lr=lr, betas=betas, fused=True)

    def open(self) -> None:
        """Nothing is reset."""

    def render(self) -> Batch:
        """New images from new noise, with target labels if there are any."""
        self._code = self._draw(self.n)
        self._rendered = self._decode(*self._code)
        return self._rendered

    def step(self, loss: Tensor, observation: Observation) -> None:
        """One Adam step on the generator."""
        self._rendered.predicted, self._rendered.shares = class_and_shares(observation.logits.detach())
        self.optimizer.zero_grad()  # before, not after: a loss that learns still needs what this step leaves
        loss.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        if self.rate and self.fade:  # by steps, not rounds, as the student's falls
            self.optimizer.param_groups[0]["lr"] = self.rate(min(1, self.steps / self.fade))
        self.steps += 1
        self.optimizer.step()

    def close(self) -> Batch:
        """The images of the last step."""
        # not the best: this generator goes on, and its images with it
        made = self._rendered
        return Batch(made.images.detach(), made.labels, made.predicted, shares=made.shares)

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """``n`` new images; with ``hold`` those of the last step's noise, at most ``n``."""
        noise, labels = self._code if self.hold else self._draw(n)
        return self._decode(noise[:n], None if labels is None else labels[:n])

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state and the steps so far."""
        return {**self.optimizer.state_dict(), "steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`get_extra_state` gave; older checkpoints count the steps in the optimizer's group."""
        rest = {name: value for name, value in state.items() if name != "steps"}
        (group,) = rest["param_groups"]
        self.steps = state.get("steps", group.get("taken", 0))
        self.optimizer.load_state_dict(rest)

    def _draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        device = next(self.net.parameters()).device
        noise = draw_latent(self.net, n, self.z_dim, device)
        return noise, draw_labels(n, self.classes, self.labels, device) if self.classes else None

    def _decode(self, noise: Tensor, labels: Tensor | None) -> Batch:
        return Batch(self.net(noise) if labels is None else self.net(noise, labels), labels)
