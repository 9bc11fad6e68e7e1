"""Files that are written beside the loop: it hands over a copy, and one thread encodes, serializes and writes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


class AsyncWriter:
    """``with AsyncWriter(device) as writer: writer.put(...)``; the end of the block waits until everything is written.

    What a job raises is raised again by the next call, or at the end unless another error ends the block.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._thread = ThreadPoolExecutor(1, "dfkd_lab writer")
        self._jobs: dict[str, Future[None]] = {}

    def put(self, kind: str, job: Callable[[Any], object], value: Any) -> None:
        """Have ``job(copy of value)`` done after the jobs before it; wait first while one of its kind is not done."""
        for name, before in self._jobs.items():
            if name == kind or before.done():
                before.result()
        self._jobs[kind] = self._thread.submit(self._do, job, snapshot(value), self._copied())

    def wait(self) -> None:
        """Until everything is written."""
        for job in self._jobs.values():
            job.result()

    def __enter__(self) -> AsyncWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._thread.shutdown()
        if kind is None or not issubclass(kind, Exception):
            self.wait()

    def _copied(self) -> torch.cuda.Event | None:
        """An event that the device passes when the copies that were just queued are done."""
        return torch.cuda.current_stream(self.device).record_event() if self.device.type == "cuda" else None

    @staticmethod
    def _do(job: Callable[[Any], object], value: Any, copied: torch.cuda.Event | None) -> None:
        if copied is not None:
            copied.synchronize()
        job(value)


def snapshot(value: Any) -> Any:
    """``value`` with every tensor in its dictionaries, lists and tuples copied to the CPU; other leaves as they are.

    A copy from a GPU is under way when this returns: it holds what the tensor was, and is there when the stream is.
    """
    if isinstance(value, Tensor):
        if value.device.type == "cpu":
            return value.detach().clone()
        pinned = torch.empty_like(value, device="cpu", pin_memory=True, requires_grad=False)
        return pinned.copy_(value.detach(), non_blocking=True)
    if isinstance(value, dict):
        twin = copy.copy(value)  # a state dict is a dictionary with attributes
        twin.update({name: snapshot(each) for name, each in value.items()})
        return twin
    if isinstance(value, list | tuple):
        return type(value)(snapshot(each) for each in value)
    return value
