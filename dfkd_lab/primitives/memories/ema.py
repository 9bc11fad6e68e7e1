"""A memory that is an average of the generator's weights (MAD)."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor

from dfkd_lab.errors import SpecError
from dfkd_lab.nets.generators import draw_latent
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories.base import Draw
from dfkd_lab.primitives.memories.replay import ReplayMixture
from dfkd_lab.primitives.synthesizers import NoiseGenerator, draw_labels


class EMAMemory(ReplayMixture):
    """A second generator whose weights follow the first one's (MAD). Keeps no image.

    average <- momentum * average + (1 - momentum) * generator, also of the batch norms' statistics, after each write;
    replayed images are decoded in eval mode from new noise, and new labels if the generator takes any. The student's
    loss is E_live + ``weight`` * E_replayed, however many there are of each (L_S of MAD, lambda_0 = 1).

    Args:
        synthesizer: Its generator is followed.
        replayed: Images of the past in a read.
        classes: K.
        momentum: In [0, 1).
        weight: Of the replayed images' mean loss.
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
        averaged, followed = (
            chain(each.parameters(), each.buffers()) for each in (self.average, self._followed[0].net)
        )
        for average, new in zip(averaged, followed, strict=True):
            if average.is_floating_point():  # a batch norm counts its batches in a whole number, unused in eval mode
                average.lerp_(new, 1 - self.momentum)

    def read(self, n: int, draw: Draw) -> Batch:
        """New images and replayed ones, weighted so that the mean loss is the sum of both means."""
        images = super().read(n, draw).images
        assert self._live is not None
        live, past = len(self._live), len(images) - len(self._live)
        parts = ((live, 1 / live), (past, self.weight / past))
        weights = torch.cat([torch.full((n,), weight, device=images.device) for n, weight in parts])
        return Batch(images, weights=weights * len(images))

    @torch.no_grad()
    def replay(self, n: int) -> Tensor:
        """``n`` images of the averaged generator."""
        (synthesizer,) = self._followed
        device = self.seen.device
        noise = draw_latent(self.average, n, synthesizer.z_dim, device)
        if not synthesizer.classes:
            return self.average(noise)
        return self.average(noise, draw_labels(n, synthesizer.classes, synthesizer.labels, device))

    def learn(self, live: Tensor) -> None:
        """Nothing to do: the average follows the generator, not its images."""
