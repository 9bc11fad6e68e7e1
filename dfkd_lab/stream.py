"""Random numbers that belong to a run."""

from __future__ import annotations

import torch
from torch import Tensor


def host_rand() -> float:
    """A random number in [0, 1) to steer Python by; it is drawn on the CPU, so that nothing waits for a device."""
    return torch.rand((), device="cpu").item()


class Stream:
    """The run's own random numbers: inside ``with stream`` torch draws from them, outside it is as it was."""

    def __init__(self, seed: int, device: torch.device):
        self.device = device
        outer = self._look()
        torch.manual_seed(seed)
        self._inner = self._look()
        self._set(outer)

    def __enter__(self) -> None:
        self._outer = self._look()
        self._set(self._inner)

    def __exit__(self, *exception: object) -> None:
        self._inner = self._look()
        self._set(self._outer)

    def state_dict(self) -> dict[str, Tensor]:
        """The generators' states."""
        return dict(self._inner)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where ``state`` was taken."""
        self._inner = {name: value.cpu() for name, value in state.items()}

    def _look(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _set(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
