"""Replay: every student step sees new images, and beside them some of the past, in one forward pass.

The past is kept as images (MB-DFKD), as the weights of a VAE that makes more like them (PRE-DFKD), or as an average of
the generator's weights (MAD).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.primitives import terms
from dfkd_lab.primitives.memory import Batch, Fresh, ImageRing, in_unit
from dfkd_lab.primitives.observe import Observer
from dfkd_lab.primitives.synthesis import NoiseGenerator, draw_labels
from dfkd_lab.primitives.terms import Function
from dfkd_lab.spec import SpecError


class Mixture(nn.Module, ABC):
    """A memory whose read is ``n`` live images followed by ``replayed`` of the past."""

    reads_labels, draws = "none", True
    seen: Tensor

    def __init__(self, replayed: int, classes: int):
        super().__init__()
        self.replayed = replayed
        self.register_buffer("seen", torch.zeros(classes))
        self._live: Tensor | None = None

    def open(self, progress: float) -> None:
        """Nothing to do."""

    @property
    def stage(self) -> Hashable:
        """Always the same."""
        return "mixed"

    def write(self, batch: Batch) -> None:
        """Count the classes; what is remembered are images the student saw."""
        if batch.predicted is not None:
            # not bincount, which waits for the device to learn how many classes there are
            self.seen.scatter_add_(0, batch.predicted, self.seen.new_ones(len(batch.predicted)))

    def class_shares(self, classes: int) -> Tensor:
        """The share [K] of each class in all that was ever synthesized: the past stands for all of it."""
        return self.seen / self.seen.sum().clamp(min=1)

    def summary(self, classes: int) -> dict[str, Any]:
        """bytes, replayed, and classes of all that was ever synthesized."""
        return {"bytes": self.bytes, "replayed": self.replayed, "classes": self.seen.long().tolist()}

    def read(self, n: int, fresh: Fresh) -> Batch:
        """``n`` new images, and the past if there is one yet."""
        self._live = fresh(n).images
        past = self.replay(self.replayed)
        return Batch(self._live if past is None else torch.cat([self._live, past]))

    def feedback(self, batch: Batch, losses: Tensor) -> None:
        """The student has seen the batch: learn from its live part."""
        assert self._live is not None, "feedback() before the first read()"
        self.learn(self._live)
        self._live = None

    @abstractmethod
    def replay(self, n: int) -> Tensor | None:
        """``n`` images [n, C, H, W] of the past without gradient, or None while there are none."""

    @abstractmethod
    def learn(self, live: Tensor) -> None:
        """Remember these new images [N, C, H, W]."""

    @property
    def bytes(self) -> int:
        """What remembering takes: weights and stored images; optimizer states come on top while it is trained."""
        return sum(kept.numel() * kept.element_size() for kept in chain(self.parameters(), self.buffers()))


class ImageBank(Mixture):
    """A few batches of old images, first in, first out; a read takes one whole batch of them (MB-DFKD).

    At the end of every ``period``-th round, the first among them, the bank takes ``replayed`` images of the last live
    batch. Differs: they are kept as uint8, so values outside [0, 1] are clipped.
    """

    last: Tensor

    def __init__(self, replayed: int, batches: int, period: int, shape: tuple[int, int, int], classes: int):
        super().__init__(replayed, classes)
        self.period, self.rounds = period, 0
        self.ring = ImageRing(batches * replayed, shape)
        self.register_buffer("last", torch.zeros(replayed, *shape))

    def open(self, progress: float) -> None:
        """Take what the round before saw last, if it is its turn."""
        if self.rounds and (self.rounds - 1) % self.period == 0:
            self.ring.write(Batch(self.last))
        self.ring.open(progress)
        self.rounds += 1

    def replay(self, n: int) -> Tensor | None:
        """One stored batch, each as likely as the others; None while the bank is empty."""
        if not len(self.ring):
            return None
        device = self.ring.images.device
        start = (torch.rand((), device=device) * (len(self.ring) // n)).long() * n
        return in_unit(self.ring.images.index_select(0, start + torch.arange(n, device=device)))

    def learn(self, live: Tensor) -> None:
        """Hold the first of these images until the round's end; a batch smaller than that is repeated."""
        self.last.copy_(live[torch.arange(len(self.last), device=live.device) % len(live)])

    def summary(self, classes: int) -> dict[str, Any]:
        """bytes, replayed, images, capacity, oldest, and classes of all that was ever synthesized."""
        return {**self.ring.summary(classes), **super().summary(classes)}

    def get_extra_state(self) -> int:
        """The rounds so far."""
        return self.rounds

    def set_extra_state(self, state: int) -> None:
        """The rounds so far."""
        self.rounds = state


class EMAMemory(Mixture):
    """A second generator whose weights follow the first one's with ``momentum`` (MAD). Keeps no image.

    average <- momentum * average + (1 - momentum) * generator, also of the batch norms' statistics, after each write;
    replayed images are decoded in eval mode from new noise, and new labels if the generator takes any. The student's
    loss is E_live + ``weight`` * E_replayed, whatever their numbers (L_S of MAD, lambda_0 = 1).
    """

    def __init__(self, synthesizer: NoiseGenerator, replayed: int, classes: int, momentum: float, weight: float = 1.0):
        super().__init__(replayed, classes)
        self.momentum, self.weight = momentum, weight
        self.follow(synthesizer)

    def follow(self, synthesizer: NoiseGenerator) -> None:
        """Begin anew, with a copy of this synthesizer's generator.

        Raises:
            SpecError: if it has no generator that makes new images of new noise.
        """
        if not isinstance(synthesizer, NoiseGenerator):
            raise SpecError(f"EMAMemory averages the generator of new noise, and {type(synthesizer).__name__} has none")
        self._followed = (synthesizer,)  # in a tuple, because its weights are not part of this memory
        self.average = deepcopy(synthesizer.net).requires_grad_(False).eval()

    @torch.no_grad()
    def write(self, batch: Batch) -> None:
        """Follow the generator; the batch itself is not kept."""
        super().write(batch)
        net = self._followed[0].net
        ours, theirs = (chain(each.parameters(), each.buffers()) for each in (self.average, net))
        for mine, new in zip(ours, theirs, strict=True):
            if mine.is_floating_point():  # a batch norm counts its batches in a whole number, which eval mode ignores
                mine.lerp_(new, 1 - self.momentum)

    def read(self, n: int, fresh: Fresh) -> Batch:
        """New images and replayed ones, weighted so that the mean loss is the sum of both means."""
        images = super().read(n, fresh).images
        assert self._live is not None
        live, past = len(self._live), len(images) - len(self._live)
        parts = ((live, 1 / live), (past, self.weight / past))
        shares = torch.cat([torch.full((n,), share, device=images.device) for n, share in parts])
        return Batch(images, weights=shares * len(images))

    @torch.no_grad()
    def replay(self, n: int) -> Tensor:
        """``n`` images of the averaged generator."""
        (synthesizer,) = self._followed
        device = self.seen.device
        noise = torch.randn(n, synthesizer.z_dim, device=device)
        if not synthesizer.classes:
            return self.average(noise)
        return self.average(noise, draw_labels(n, synthesizer.classes, synthesizer.labels, device))

    def learn(self, live: Tensor) -> None:
        """Nothing to do: the average follows the generator, not its images."""


class VAEMemory(Mixture):
    """A VAE that learns what was ever generated, from new images and from its own replay (PRE-DFKD). Keeps no image.

    replay: z ~ N(0, I), then ``z_steps`` Adam steps on z towards codes whose images the teacher finds confident and
    balanced, at mean 0 and variance 1 over the batch; decoded in eval mode for the student, in train mode for itself.
    Learning: in the first ``steps`` student steps after a write, one Adam step of encoder and decoder on half of the
    live images and as many replayed ones as the student gets: L1 between pixels in network units, L1 between the
    teacher's logits ("logits", not with "pixel"), and ``prior`` times the KL to N(0, I). In the first phase of all
    there is no own replay to learn from.

    Differs: the gradient of the codes' loss reaches the codes only; the authors' code adds it to the decoder's too.
    """

    def __init__(
        self,
        decoder: nn.Module,
        encoder: nn.Module,
        observer: Observer,
        replayed: int,
        z_dim: int,
        classes: int,
        *,
        confidence: float,
        balance: float,
        z_lr: float,
        z_steps: int,
        lr: float,
        steps: int,
        prior: float,
        reconstruction: str,
    ):
        super().__init__(replayed, classes)
        self.decoder, self.encoder, self.observer, self.z_dim = decoder, encoder, observer, z_dim
        self.confidence, self.balance, self.z_lr, self.z_steps = confidence, balance, z_lr, z_steps
        self.steps, self.prior, self.reconstruction = steps, prior, reconstruction
        self.optimizer = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], lr=lr, fused=True)
        self.phases, self._left = 0, 0
        self._imbalance: Function = terms.balance(base=10)

    @property
    def stage(self) -> Hashable:
        """Whether it learns."""
        return self._left > 0

    def write(self, batch: Batch) -> None:
        """Begin a phase; the synthesizer's batch itself is not kept."""
        super().write(batch)
        self.phases += 1
        self._left = self.steps

    def replay(self, n: int) -> Tensor:
        """``n`` decoded codes, after tuning, as the decoder is now."""
        return self._decode(n, training=False)

    def learn(self, live: Tensor) -> None:
        """One Adam step of encoder and decoder, if this phase has any left."""
        if self._left == 0:
            return
        self._left -= 1
        half = live[: (len(live) + 1) // 2]
        images = half if self.phases == 1 else torch.cat([half, self._decode(self.replayed, training=True)])
        self.loss(images).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def loss(self, images: Tensor) -> Tensor:
        """What encoder and decoder minimize on these images, a scalar."""
        self.decoder.train()
        network_units = self.observer.teacher.network_units
        mean, log_variance = self.encoder(network_units(images))
        found = self.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        loss = (network_units(found) - network_units(images)).abs().mean()
        if self.reconstruction == "logits":
            loss = loss + (self.observer(found, graph=True).logits - self.observer(images).logits).abs().mean()
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        return loss + self.prior * divergence

    def _decode(self, n: int, training: bool) -> Tensor:
        self.decoder.train(training)
        code = torch.randn(n, self.z_dim, device=next(self.decoder.parameters()).device).requires_grad_()
        optimizer = torch.optim.Adam([code], lr=self.z_lr, fused=True)
        for _ in range(self.z_steps):
            # not backward(): the decoder must not learn from this
            (code.grad,) = torch.autograd.grad(self._code_loss(code), code)
            optimizer.step()
        with torch.no_grad():
            return self.decoder(code)

    def _code_loss(self, code: Tensor) -> Tensor:
        seen = self.observer(self.decoder(code), graph=True)
        variance, mean = torch.var_mean(code, 0)
        moments = ((variance - 1) ** 2).mean() + (mean**2).mean()
        wanted = self.confidence * terms.confidence(seen).mean() + self.balance * self._imbalance(seen)
        return wanted + moments

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state and the phases so far."""
        return {"optimizer": self.optimizer.state_dict(), "phases": self.phases}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The optimizer's state and the phases so far."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.phases = state["phases"]
