"""A memory of hidden maps: new images from what the generator had in mind for old ones (SpaceshipNet)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dfkd_lab.nets import Generator
from dfkd_lab.primitives.memory import Batch, Fresh, ImageRing
from dfkd_lab.primitives.phases import PhaseGenerator
from dfkd_lab.spec import SpecError
from dfkd_lab.stream import host_rand


class HiddenMaps(ImageRing):
    """Hidden maps of the last ``capacity`` images, exchanged by channel and decoded by the generator as it is now.

    A read takes one depth (behind the first batch norm, the first block or the second, each as likely), draws maps
    uniformly, and with probability ``exchange`` gives map i half of the channels of map n - 1 - i, another half for
    each image. What the rest of the generator makes of them was asked for by no one label.

    The maps are float16 and take 3.25 g H^2 bytes an image, g the generator's width and H the image's side, on the
    device and in the checkpoint: at g = 64 and H = 32 213 kB, 11 GB for 51,200 images.
    Differs: the maps are those of the batch's codes when the phase ends, in eval mode; the authors keep those of the
    best step. Maps are drawn with replacement.
    """

    reads_labels, reads_images = "none", False
    stage: Hashable = None
    maps_0: Tensor
    maps_1: Tensor
    maps_2: Tensor

    def __init__(self, synthesizer: PhaseGenerator, capacity: int, shape: tuple[int, int, int], exchange: float):
        super().__init__(capacity, shape)
        self.exchange = exchange
        self.follow(synthesizer)

    def follow(self, synthesizer: PhaseGenerator) -> None:
        """Keep the maps of this synthesizer's generator, and decode with it.

        Raises:
            SpecError: if it gives no codes, or its generator has no hidden maps that can be decoded.
        """
        if not isinstance(synthesizer, PhaseGenerator):
            raise SpecError(f"HiddenMaps keeps the maps of codes, and {type(synthesizer).__name__} gives none")
        if not isinstance(synthesizer.net, Generator):
            raise SpecError(f"HiddenMaps decodes with the shared generator, not with {type(synthesizer.net).__name__}")
        self._followed = (synthesizer.net,)  # in a tuple, because its weights are not part of this memory
        with at_rest(synthesizer.net) as net:
            maps = net.maps(torch.zeros(1, net.z_dim, device=next(net.parameters()).device))
        for depth, each in enumerate(maps):
            # not zeros: memory that is never written to is never taken
            self.register_buffer(f"maps_{depth}", torch.empty(self.capacity, *each.shape[1:], dtype=torch.float16))

    @property
    def pools(self) -> list[Tensor]:
        """The maps [capacity, C, H, W] of each depth."""
        return [self.maps_0, self.maps_1, self.maps_2]

    def write(self, batch: Batch) -> None:
        """Keep the maps of the batch's codes, in place of the oldest."""
        assert batch.codes is not None
        with at_rest(*self._followed) as net:
            self._new = net.maps(batch.codes)
        super().write(batch)
        del self._new

    def read(self, n: int, fresh: Fresh) -> Batch:
        """``n`` images decoded from stored maps, exchanged or as they are."""
        pools = self.pools
        depth = int(host_rand() * len(pools))
        maps = pools[depth][torch.randint(0, len(self), (n,), device=self.images.device)].float()
        if host_rand() < self.exchange:
            maps = exchanged(maps)
        with at_rest(*self._followed) as net:
            return Batch(net.decode(depth, maps))

    def _written_to(self, place: Tensor) -> None:
        for pool, maps in zip(self.pools, self._new, strict=True):
            pool[place] = maps[-len(place) :].half()


def exchanged(maps: Tensor) -> Tensor:
    """Maps [N, C, H, W] with C // 2 channels of map i, drawn for each i, taken from map N - 1 - i."""
    n, channels = maps.shape[:2]
    ranks = torch.rand(n, channels, device=maps.device).argsort(1)
    return torch.where((ranks < channels // 2)[:, :, None, None], maps.flip(0), maps)


@contextmanager
def at_rest(net: Generator) -> Iterator[Generator]:
    """The generator in eval mode and without gradient; afterwards as before."""
    training = net.training
    try:
        with torch.no_grad():
            yield net.eval()
    finally:
        net.train(training)
