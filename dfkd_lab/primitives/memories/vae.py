"""A memory that is a VAE: it makes images like those that were ever generated (PRE-DFKD)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab.primitives import losses
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.losses import LossFunction
from dfkd_lab.primitives.memories.replay import ReplayMixture
from dfkd_lab.primitives.observer import Observer


class VAEMemory(ReplayMixture):
    """A VAE that learns what was ever generated, from new images and from its own replay (PRE-DFKD). Keeps no image.

    replay: z ~ N(0, I), then ``z_steps`` Adam steps on z towards codes whose images the teacher finds confident and
    balanced, at mean 0 and variance 1 over the batch; decoded in eval mode for the student, in train mode for itself.
    Learning: in the first ``steps`` student steps after a write, one Adam step of encoder and decoder on half of the
    live images and as many replayed ones as the student gets: L1 between pixels in network units, L1 between the
    teacher's logits, and ``prior`` times the KL to N(0, I). In the first phase of all there is no own replay to learn
    from.

    Args:
        decoder: Codes [N, Z] -> images [N, C, H, W] in [0, 1].
        encoder: Images in network units -> mean and log variance of the code, [N, Z] each.
        observer: Runs the teacher.
        replayed: Images of the past in a read.
        z_dim: Z.
        classes: K.
        confidence: Weight of the teacher's confidence in the codes' loss.
        balance: Weight of the negative batch entropy (base 10) in it.
        z_lr: Of the codes' Adam.
        z_steps: Of the codes' Adam, before they are decoded.
        lr: Of the VAE's Adam.
        steps: Student steps after a write in which the VAE takes one too.
        prior: Factor of the KL to N(0, I).
        reconstruction: "logits", or "pixel", which leaves the teacher's logits out.

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
        self._imbalance: LossFunction = losses.balance(base=10)

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
        # in the first phase the decoder knows nothing that its own replay could keep
        half = live[: (len(live) + 1) // 2]
        images = half if self.phases == 1 else torch.cat([half, self._decode(self.replayed, training=True)])
        self.loss(images).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def loss(self, images: Tensor) -> Tensor:
        """What encoder and decoder minimize on these images [N, C, H, W], a scalar."""
        self.decoder.train()
        network_units = self.observer.teacher.network_units
        mean, log_variance = self.encoder(network_units(images))
        decoded = self.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
        loss = (network_units(decoded) - network_units(images)).abs().mean()
        if self.reconstruction == "logits":
            loss = loss + (self.observer(decoded, graph=True).logits - self.observer(images).logits).abs().mean()
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
        observation = self.observer(self.decoder(code), graph=True)
        variance, mean = torch.var_mean(code, 0)
        # tuned codes stay where the prior has its mass, or the decoder would be asked for what it never learned
        moments = ((variance - 1) ** 2).mean() + (mean**2).mean()
        sure, even = losses.confidence(observation).mean(), self._imbalance(observation)
        return self.confidence * sure + self.balance * even + moments

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state and the phases so far."""
        return {"optimizer": self.optimizer.state_dict(), "phases": self.phases}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`get_extra_state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.phases = state["phases"]
