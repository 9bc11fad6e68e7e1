"""A memory of the generator's feature maps: new images from what it had in mind for old ones (SpaceshipNet)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dfkd_lab.errors import SpecError
from dfkd_lab.nets import Generator
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories.base import Draw
from dfkd_lab.primitives.memories.buffer import ImageBuffer
from dfkd_lab.primitives.synthesizers.per_batch import PerBatchGenerator
from dfkd_lab.system.rng import host_rand


class FeatureMapBuffer(ImageBuffer):
    """Feature maps of the last images, exchanged by channel and decoded by the generator as it is now (SpaceshipNet).

    A read takes one depth (behind the first batch norm or one of the blocks, each as likely), draws maps uniformly,
    and with probability ``exchange`` gives map i half of the channels of map n - 1 - i, another half for each image.
    What the rest of the generator makes of them has no one target class.

    The maps are float16 and up to 32 pixels take 3.25 g H^2 bytes an image, g the generator's width and H the image's
    side, on the device and in the checkpoint: at g = 64 and H = 32 213 kB, 11 GB for 51,200 images.

    Args:
        synthesizer: Its generator's maps are kept.
        capacity: In images.
        shape: Of an image, [C, H, W].
        exchange: In [0, 1].

    Raises:
        SpecError: see :meth:`follow`.

    Differs: the maps are those of the batch's codes when the phase ends, in eval mode; the authors keep those of the
    best step. Maps are drawn with replacement.
    """

    reads_labels, reads_images = "none", False

    def __init__(self, synthesizer: PerBatchGenerator, capacity: int, shape: tuple[int, int, int], exchange: float):
        super().__init__(capacity, shape)
        self.exchange = exchange
        self.follow(synthesizer)

    def follow(self, synthesizer: PerBatchGenerator) -> None:
        """Keep the maps of this synthesizer's generator, and decode with it.

        Raises:
            SpecError: if it gives no codes, or its generator has no feature maps that can be decoded.
        """
        if not isinstance(synthesizer, PerBatchGenerator):
            raise SpecError(f"FeatureMapBuffer keeps the maps of codes, and {type(synthesizer).__name__} gives none")
        if not isinstance(synthesizer.net, Generator):
            name = type(synthesizer.net).__name__
            raise SpecError(
                f"FeatureMapBuffer decodes with the shared generator, not with {name}; allowed: generator = 'auto'"
            )
        self._followed = (synthesizer.net,)  # in a tuple, because its weights are not part of this memory
        with eval_mode(synthesizer.net) as net:
            maps = net.maps(torch.zeros(1, *net.latent_shape, device=next(net.parameters()).device))
        self.depths = len(maps)
        for depth, each in enumerate(maps):
            # not zeros: memory that is never written to is never allocated
            self.register_buffer(f"maps_{depth}", torch.empty(self.capacity, *each.shape[1:], dtype=torch.float16))

    @property
    def pools(self) -> list[Tensor]:
        """The maps [capacity, C, H, W] of each depth."""
        return [self.get_buffer(f"maps_{depth}") for depth in range(self.depths)]

    def write(self, batch: Batch) -> None:
        """Keep the maps of the batch's codes, in place of the oldest."""
        assert batch.codes is not None
        with eval_mode(*self._followed) as net:
            self._new = net.maps(batch.codes)
        super().write(batch)
        del self._new

    def read(self, n: int, draw: Draw) -> Batch:
        """``n`` images decoded from stored maps, exchanged or as they are."""
        pools = self.pools
        depth = int(host_rand() * len(pools))
        maps = pools[depth][torch.randint(0, len(self), (n,), device=self.device)].float()
        if host_rand() < self.exchange:
            maps = exchanged(maps)
        with eval_mode(*self._followed) as net:
            return Batch(net.decode(depth, maps))

    def _on_write(self, place: Tensor) -> None:
        for pool, maps in zip(self.pools, self._new, strict=True):
            pool[place] = maps[-len(place) :].half()


def exchanged(maps: Tensor) -> Tensor:
    """Feature maps with half of their channels taken from the mirrored place in the batch.

    Args:
        maps: [N, C, H, W].

    Returns:
        [N, C, H, W]: C // 2 channels of map i, drawn for each i, are those of map N - 1 - i.
    """
    n, channels = maps.shape[:2]
    ranks = torch.rand(n, channels, device=maps.device).argsort(1)
    return torch.where((ranks < channels // 2)[:, :, None, None], maps.flip(0), maps)


@contextmanager
def eval_mode(net: Generator) -> Iterator[Generator]:
    """The generator in eval mode and without gradient; afterwards as before.

    Args:
        net: Whose mode changes inside the ``with``.

    Returns:
        A context that gives ``net``.
    """
    training = net.training
    try:
        with torch.no_grad():
            yield net.eval()
    finally:
        net.train(training)
