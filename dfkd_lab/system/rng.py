"""Random numbers that belong to a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_swapping = threading.RLock()
"""torch's global generators belong to one thread at a time: a plan in another one waits for the round to end."""


@contextmanager
def preserved() -> Iterator[None]:
    """Inside, random numbers may be drawn on the CPU; afterwards torch's are as they were."""
    with _swapping, torch.random.fork_rng(devices=[]):
        yield


def host_rand() -> float:
    """A random number in [0, 1) for a decision in Python; drawn on the CPU, so that nothing waits for a device."""
    return torch.rand((), device="cpu").item()


class RNGState:
    """The run's own random numbers: inside ``with rng`` torch draws from them, outside torch's are as they were.

    The states of torch's global generators are swapped, so that layers which draw by themselves (dropout) are covered.
    """

    def __init__(self, seed: int, device: torch.device):
        self.device = device
        with _swapping:
            outer = self._read()
            torch.manual_seed(seed)
            self._inner = self._read()
            self._write(outer)

    def __enter__(self) -> None:
        _swapping.acquire()
        self._outer = self._read()
        self._write(self._inner)

    def __exit__(self, *exception: object) -> None:
        self._inner = self._read()
        self._write(self._outer)
        _swapping.release()

    def state_dict(self) -> dict[str, Tensor]:
        """The generators' states by device."""
        return dict(self._inner)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state`` was taken."""
        self._inner = {name: value.cpu() for name, value in state.items()}

    def _read(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            state["mps"] = torch.mps.get_rng_state()
        return state

    def _write(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
        elif "mps" in state and self.device.type == "mps":
            torch.mps.set_rng_state(state["mps"])
