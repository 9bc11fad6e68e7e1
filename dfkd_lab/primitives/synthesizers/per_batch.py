"""A generator trained for one phase on one batch of codes (CMI, NAYER, SpaceshipNet, FSSC)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.nets.initialization import dcgan_init
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers.base import Best, Labels, draw_labels


class Code(Protocol):
    """Where a phase's codes come from."""

    def open(self, labels: Tensor) -> None:
        """Begin a phase whose images have these target labels [N]."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the phase's optimizer trains, as parameter groups."""
        ...

    def __call__(self) -> Tensor:
        """The codes [N, Z], with their gradient path."""
        ...


class NoiseCode(nn.Module):
    """A code of standard normal noise [N, Z], new each phase.

    Args:
        shape: Of a code: Z, or that of a latent map.
        lr: Of the code itself; 0 leaves it as it was drawn.
    """

    def __init__(self, shape: int | Sequence[int], lr: float = 0.0):
        super().__init__()
        self.shape, self.lr = (shape,) if isinstance(shape, int) else tuple(shape), lr

    def open(self, labels: Tensor) -> None:
        """Draw the phase's noise, one row a label."""
        self.noise = torch.randn(len(labels), *self.shape, device=labels.device).requires_grad_(self.lr > 0)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the phase's optimizer trains, as parameter groups."""
        return [{"params": [self.noise], "lr": self.lr}] if self.lr else []

    def forward(self) -> Tensor:
        """The code [N, Z] as it is."""
        return self.noise


class NoisyLabels(nn.Module):
    """The labels' embeddings through noisy layers: codes [N, Z] whose randomness is in the weights (NAYER).

    Rows of the table pass a batch norm over the batch, then a linear layer with weights from N(0, 1) and bias 0, drawn
    anew each phase: one layer for every K images in turn. Layers and batch norm are trained, at the generator's
    learning rate.

    Args:
        table: One fixed embedding a class, [K, E].
        z_dim: Z.
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

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the phase's optimizer trains, as parameter groups."""
        return [{"params": [*self.norm.parameters(), self.weights, self.biases]}]

    def forward(self) -> Tensor:
        """The codes [N, Z]."""
        # one layer for K images: within a group labels differ, so that images differ by class and by layer
        groups = self.norm(self.table[self.labels]).split(len(self.table))
        return torch.cat([F.linear(*each) for each in zip(groups, self.weights, self.biases, strict=True)])


class PerBatchGenerator(nn.Module):
    """Codes -> generator, with a fresh Adam each phase; the images with the lowest loss are kept.

    Args:
        net: Codes [N, Z] -> images [N, C, H, W].
        code: Makes the codes and says what of it is trained.
        n: Images of a phase.
        classes: K.
        lr: Of Adam.
        life: Phases after which the generator, and what of ``code`` outlives a phase, is made new by ``reset``: 1 in
            CMI; 0 keeps for ever what was given (SpaceshipNet).
        restart: The phase from which those are counted anew.
        reset: How they are made new; also at the very start, if ``life`` is not 0.
        labels: How target labels are drawn, see :func:`~dfkd_lab.primitives.synthesizers.base.draw_labels`.
        betas: Of Adam.
    """

    labelled, sample_labelled, can_sample = True, True, True
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
        reset: Callable[[nn.Module], None] = dcgan_init,
        labels: Labels = "balanced",
        betas: tuple[float, float] = (0.5, 0.999),
    ):
        super().__init__()
        self.net, self.code, self.n, self.classes = net, code, n, classes
        self.lr, self.labels, self.betas = lr, labels, betas
        self.life, self.restart, self.reset = life, restart, reset
        self.register_buffer("phases", torch.zeros((), dtype=torch.long, device="cpu"))
        self.best = Best()
        if life:  # the first phase starts as every later one does, not from torch's initialization
            self.reset(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PerBatchGenerator:
        super()._apply(fn, recurse)
        self.phases = self.phases.cpu()  # the count steers Python; on a device each read of it would wait
        return self

    def open(self) -> None:
        """Draw labels and codes; forget the optimizer, and the generator if its time is over."""
        phase = int(self.phases)
        age = phase - (self.restart if phase >= self.restart else 0)
        if self.life and phase and age % self.life == 0:
            self.reset(self)
        self.phases += 1
        self.targets = draw_labels(self.n, self.classes, self.labels, next(self.net.parameters()).device)
        self.code.open(self.targets)
        groups = [{"params": list(self.net.parameters())}, *self.code.parameter_groups()]
        self.optimizer = torch.optim.Adam(groups, lr=self.lr, betas=self.betas, fused=True)

    def render(self) -> Batch:
        """The images of this phase's codes."""
        self._rendered = Batch(self.net(self.code()), self.targets)
        return self._rendered

    def step(self, loss: Tensor, observation: Observation) -> None:
        """One Adam step."""
        self.best.offer(loss, self._rendered, observation)
        del self._rendered
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def close(self) -> Batch:
        """The images with the lowest loss, and the codes as they are now."""
        kept = self.best.take()
        kept.codes = self.code().detach()  # of the last step, though the images are the best one's
        return kept

    @torch.no_grad()
    def sample(self, n: int) -> Batch:
        """``n`` new images of new codes through the generator as it is."""
        labels = draw_labels(n, self.classes, self.labels, next(self.net.parameters()).device)
        self.code.open(labels)
        return Batch(self.net(self.code()), labels)
