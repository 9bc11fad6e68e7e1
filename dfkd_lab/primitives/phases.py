"""A generator trained for one phase on one batch of codes (CMI, NAYER, SpaceshipNet, FSSC)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.observe import Observation
from dfkd_lab.primitives.synthesis import Best, Labels, draw_labels


class Code(Protocol):
    """Where a phase's codes come from."""

    def open(self, labels: Tensor) -> None:
        """Begin a phase whose images have these labels [N]."""

    def trained(self) -> list[dict[str, Any]]:
        """What the phase's optimizer trains, as parameter groups."""
        ...

    def __call__(self) -> Tensor:
        """The codes [N, Z], with their gradient path."""
        ...


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


class NoisyLabels(nn.Module):
    """The labels' embeddings through noisy layers: codes [N, Z] whose randomness is in the weights (NAYER).

    ``table`` [K, E] holds one fixed embedding a class. Rows of it pass a batch norm over the batch, then a linear layer
    with weights from N(0, 1) and bias 0, drawn anew each phase: one layer for every K images in turn. Layers and batch
    norm are trained, at the generator's learning rate.
    """

    table: Tensor

    def __init__(self, table: Tensor, z_dim: int):
        super().__init__()
        self.z_dim = z_dim
        self.register_buffer("table", table.clone())
        self.norm = nn.BatchNorm1d(table.shape[1])

    def open(self, labels: Tensor) -> None:
        """Draw the phase's noisy layers."""
        classes, length = self.table.shape
        layers = -(-len(labels) // classes)
        self.labels = labels
        self.weights = torch.randn(layers, self.z_dim, length, device=labels.device).requires_grad_()
        self.biases = torch.zeros(layers, self.z_dim, device=labels.device).requires_grad_()

    def trained(self) -> list[dict[str, Any]]:
        """What the phase's optimizer trains, as parameter groups."""
        return [{"params": [*self.norm.parameters(), self.weights, self.biases]}]

    def forward(self) -> Tensor:
        """The codes [N, Z]."""
        groups = self.norm(self.table[self.labels]).split(len(self.table))
        return torch.cat([F.linear(*each) for each in zip(groups, self.weights, self.biases, strict=True)])


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


def recreate(net: nn.Module) -> None:
    """Every layer anew, as torch initializes it (NAYER)."""
    for layer in net.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()


class PhaseGenerator(nn.Module):
    """Codes -> generator, with a fresh Adam each phase; the images with the lowest loss are kept.

    ``code`` makes the codes and says what of it is trained. The generator, and what of ``code`` outlives a phase, is
    made new by ``renew`` at the start and every ``life`` phases, counted from 0 and again from phase ``restart``: 1 in
    CMI; 0 keeps for ever what was given (SpaceshipNet).
    """

    labelled, sample_labelled, can_sample = True, True, True
    stage: Hashable = "phase"
    phases: Tensor

    def __init__(
        self,
        net: nn.Module,
        code: Code,
        n: int,
        classes: int,
        *,
        lr: float,
        life: int = 0,
        restart: int = 0,
        renew: Callable[[nn.Module], None] = initialize,
        labels: Labels = "balanced",
        betas: tuple[float, float] = (0.5, 0.999),
    ):
        super().__init__()
        self.net, self.code, self.n, self.classes = net, code, n, classes
        self.lr, self.labels, self.betas = lr, labels, betas
        self.life, self.restart, self.renew = life, restart, renew
        self.register_buffer("phases", torch.zeros((), dtype=torch.long, device="cpu"))
        self.best = Best()
        if life:
            self.renew(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PhaseGenerator:
        super()._apply(fn, recurse)
        self.phases = self.phases.cpu()  # the count steers Python; on a device each look would wait for it
        return self

    def open(self) -> None:
        """Draw labels and codes; forget the optimizer, and the generator if its time is over."""
        phase = int(self.phases)
        age = phase - (self.restart if phase >= self.restart else 0)
        if self.life and phase and age % self.life == 0:
            self.renew(self)
        self.phases += 1
        self.asked = draw_labels(self.n, self.classes, self.labels, next(self.net.parameters()).device)
        self.code.open(self.asked)
        groups = [{"params": list(self.net.parameters())}, *self.code.trained()]
        self.optimizer = torch.optim.Adam(groups, lr=self.lr, betas=self.betas, fused=True)

    def render(self) -> Batch:
        """The images of this phase's codes."""
        self._rendered = Batch(self.net(self.code()), self.asked)
        return self._rendered

    def step(self, loss: Tensor, seen: Observation) -> None:
        """One Adam step."""
        self.best.offer(loss, self._rendered, seen)
        del self._rendered
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

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
