"""A generator trained for one phase on one batch of codes (CMI, NAYER, SpaceshipNet, FSSC)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.observe import Observation
from dfkd_lab.primitives.synthesis import Best, Labels, draw_labels


class NoiseCode(nn.Module):
    """A code of standard normal noise [N, Z], new each phase; with ``lr`` above 0 it is trained too."""

    def __init__(self, z_dim: int, lr: float = 0.0):
        super().__init__()
        self.z_dim, self.lr = z_dim, lr

    def open(self, labels: Tensor) -> None:
        """Draw the phase's noise, one row a label."""
        self.noise = torch.randn(len(labels), self.z_dim, device=labels.device).requires_grad_(self.lr > 0)

    def trained(self) -> list[dict[str, Any]]:
        """What the phase's optimizer trains, as parameter groups."""
        return [{"params": [self.noise], "lr": self.lr}] if self.lr else []

    def forward(self) -> Tensor:
        """The code [N, Z] as it is."""
        return self.noise


class PhaseGenerator(nn.Module):
    """Codes -> generator, with a fresh Adam each phase; the images with the lowest loss are kept.

    ``code`` makes the codes and says what of it is trained. The generator itself lives ``life`` phases and is then
    initialized anew: 1 in CMI; 0 means for ever (SpaceshipNet).
    """

    labelled, sample_labelled, can_sample = True, True, True

    def __init__(
        self,
        net: nn.Module,
        code: NoiseCode,
        n: int,
        classes: int,
        *,
        lr: float,
        life: int = 0,
        labels: Labels = "balanced",
        betas: tuple[float, float] = (0.5, 0.999),
    ):
        super().__init__()
        self.net, self.code, self.n, self.classes = net, code, n, classes
        self.lr, self.life, self.labels, self.betas = lr, life, labels, betas
        self.phases = 0
        self.best = Best()

    def open(self) -> None:
        """Draw labels and codes; forget the optimizer, and the generator if its time is over."""
        if self.life and self.phases and self.phases % self.life == 0:
            initialize(self.net)
        self.phases += 1
        self.asked = draw_labels(self.n, self.classes, self.labels, next(self.net.parameters()).device)
        self.code.open(self.asked)
        groups = [{"params": list(self.net.parameters())}, *self.code.trained()]
        self.optimizer = torch.optim.Adam(groups, lr=self.lr, betas=self.betas)

    def render(self) -> Batch:
        """The images of this phase's codes."""
        self._rendered = Batch(self.net(self.code()), self.asked)
        return self._rendered

    def step(self, loss: Tensor, seen: Observation) -> None:
        """One Adam step."""
        self.best.offer(loss, self._rendered, seen)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def close(self) -> Batch:
        """The images with the lowest loss, and the codes as they are now."""
        kept = self.best.take()
        kept.codes = self.code().detach()
        return kept

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """New images of new codes through the generator as it is."""
        labels = draw_labels(n, self.classes, self.labels, next(self.net.parameters()).device)
        self.code.open(labels)
        return Batch(self.net(self.code()), labels)

    def get_extra_state(self) -> int:
        """The phases so far."""
        return self.phases

    def set_extra_state(self, state: int) -> None:
        """The phases so far."""
        self.phases = state


@torch.no_grad()
def initialize(net: nn.Module) -> None:
    """Every weight anew: N(0, 0.02) for layers, N(1, 0.02) for batch norms, biases 0 (CMI)."""
    for layer in net.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            if layer.affine:
                nn.init.normal_(layer.weight, 1.0, 0.02)
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.BatchNorm2d)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
