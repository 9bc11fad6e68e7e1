"""Runs of a sweep as processes on this machine."""

from __future__ import annotations

import os
import subprocess

import torch

from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.launching import launch
from dfkd_lab.system.processes import usable_cores


class Local:
    """Processes on this machine, ``jobs`` at a time, that share its cores and its CUDA devices.

    Args:
        jobs: How many run at a time; 0 takes as many as there are CUDA devices, or one.
    """

    def __init__(self, jobs: int = 0):
        self.devices = _cuda_devices()
        self.jobs = jobs or len(self.devices) or 1
        self.threads = max(1, usable_cores() // self.jobs)

    def start(self, folder: RunFolder, place: int) -> subprocess.Popen[bytes]:
        """A process whose threads are its share of the cores, on the CUDA device whose turn it is."""
        return launch(folder, folder.trusted_code, self.environment(place))

    def environment(self, place: int) -> dict[str, str]:
        """What a process at ``place`` is told of cores and devices."""
        device = {"CUDA_VISIBLE_DEVICES": self.devices[place % len(self.devices)]} if self.devices else {}
        return {"OMP_NUM_THREADS": str(self.threads), **device}

    def poll(self, unit: subprocess.Popen[bytes]) -> int | None:
        """Its exit status."""
        return unit.poll()

    def stop(self, unit: subprocess.Popen[bytes]) -> None:
        """SIGTERM."""
        if unit.poll() is None:
            unit.terminate()


def _cuda_devices() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip() not in ("", "-1")]
    return [str(each) for each in range(torch.cuda.device_count())]
