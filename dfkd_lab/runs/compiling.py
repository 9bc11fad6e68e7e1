"""Compile a run before its seal closes: a compiler starts processes and writes files."""

from __future__ import annotations

import time
from typing import Any

import torch

from dfkd_lab.engine import compilation
from dfkd_lab.engine.loop import Run
from dfkd_lab.errors import RunError
from dfkd_lab.runs import memory_estimate
from dfkd_lab.spec import RunSpec


def compile_run(run: Run, spec: RunSpec, kept: str) -> dict[str, Any]:
    """Compile every network that ``run`` shall have compiled, for every shape; where "auto" cannot, go on without.

    Args:
        run: Rehearsed here.
        spec: Its settings.
        kept: What is saved of it, for a sentence.

    Returns:
        Seconds, compiler, and of each network "compiled", or why it is not; for the record.

    Raises:
        RunError: if it cannot, and ``compile = "yes"``; or if the memory is not enough.
        OSError: if the folder cannot be written.
    """
    start = time.perf_counter()
    try:
        with memory_estimate.explained(spec.settings, kept):
            run.rehearse()
        facts: dict[str, Any] = {**compilation.described(run.device), "networks": run.compiled}
    except OSError:
        raise
    except Exception as error:
        why_not = f"the networks cannot be compiled here ({compilation.reason(error)})"
        if spec.compile == "yes":
            raise error if isinstance(error, RunError) else RunError(f"{why_not}; allowed: compile = no") from None
        run.leave_uncompiled()
        facts = {"networks": {}, "why_not": why_not}
    if run.device.type == "cuda":  # what a rehearsal took is no figure of the run
        torch.cuda.reset_peak_memory_stats(run.device)
    return {"seconds": time.perf_counter() - start, **facts}
