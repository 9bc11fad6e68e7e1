"""Runs of a sweep as tasks of Ray: each waits for the command that is everywhere the same, and gives its status."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.launching import command
from dfkd_lab.system.signals import CALL_AGAIN

KILLED = -9
PASSED_ON = ("DFKD_CACHE", "DFKD_DATA", "PYTHONPATH")
"""A task's environment is that of the node it runs on, but for these."""
RETRIES = 2
"""Of a task whose node or worker is gone; the run goes on from its folder, which all nodes have to see."""


class RayTasks:
    """Tasks on the cluster that ``RAY_ADDRESS`` or ``ray start`` names, else on this machine.

    Args:
        jobs: How many run at a time; 0 takes as many as the cluster has GPUs, or one.

    Raises:
        SpecError: if Ray is not installed.
        RunError: if it does not start.
    """

    def __init__(self, jobs: int = 0):
        try:
            import ray
        except ImportError:
            raise SpecError("on = 'ray' needs Ray: pip install 'dfkd_lab[cluster]', or: pip install ray") from None
        self.ray = ray
        if not ray.is_initialized():
            _begin(ray)
        has = ray.cluster_resources()
        gpus, cpus = has.get("GPU", 0.0), int(has.get("CPU", 1))
        self.jobs = jobs or int(gpus) or 1
        self.threads = max(1, cpus // self.jobs)
        needs = {"num_cpus": min(self.threads, cpus), "num_gpus": min(1.0, gpus / self.jobs)}
        self.task = ray.remote(max_retries=RETRIES, **needs)(_waiting())

    def start(self, folder: RunFolder, place: int) -> Any:
        """A task, which begins when the cluster has what it needs."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["OMP_NUM_THREADS"] = str(self.threads)
        return self.task.remote(command(folder, folder.trusted_code), environment, str(folder.path / "log.txt"))

    def poll(self, unit: Any) -> int | None:
        """What its task gave; a task that Ray gave up was killed."""
        if not self.ray.wait([unit], timeout=0)[0]:
            return None
        try:
            return int(self.ray.get(unit))
        except self.ray.exceptions.TaskCancelledError:
            return CALL_AGAIN
        except self.ray.exceptions.RayError:
            return KILLED

    def stop(self, unit: Any) -> None:
        """Interrupt its task, which passes SIGTERM on; one that has not begun never does."""
        self.ray.cancel(unit, recursive=False)


def _begin(ray: Any) -> None:
    """Connect to a cluster, or make one of this machine."""
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    except Exception as error:  # of a dozen kinds, when its processes do not find each other
        raise RunError(f"Ray does not start ({(str(error) or type(error).__name__).splitlines()[0][:200]})") from None


def _waiting() -> Any:
    """The task's function; as one inside another it travels by value, and a worker need not import this package."""

    def resume(words: Sequence[str], environment: Mapping[str, str], log: str) -> int:
        import os
        import subprocess
        import time
        from pathlib import Path

        with Path(log).open("ab") as out:
            process = subprocess.Popen(
                words, env={**os.environ, **environment}, stdin=-3, stdout=out, stderr=subprocess.STDOUT
            )
        while (code := process.poll()) is None:
            try:
                time.sleep(0.2)  # and not wait(), which Ray's interrupt does not end
            except KeyboardInterrupt:
                process.terminate()
        return code

    return resume
