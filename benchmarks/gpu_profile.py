"""Where a step's time goes on a GPU: the host's clock beside the device's, and the kernels that take longest."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from dfkd_lab.engine.loop import Run

KERNELS = 12
"""That are recorded, longest first."""
PHASES = {"synthesis": "g_steps", "student": "s_steps"}
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch")
"""Calls of the host that start a kernel, one of Triton, or a graph of them, as the profiler names them."""


def profiled(run: Run, steps: int, repeats: int = 3) -> dict[str, Any]:
    """Milliseconds of a step of each kind, by both clocks, and kernels; those of a CPU have no device's.

    A phase of ``steps`` more steps is compared with one of a single step, so that what a round does once counts not.

    Args:
        run: Of its own; its schedule is changed.
        steps: More, in the longer phase.
        repeats: Of each wall time, whose median is taken.
    """
    _warm_up(run)
    one = statistics.median(_round(run, 1, 1) for _ in range(repeats))
    found: dict[str, Any] = {}
    for phase, name in PHASES.items():
        counts = {"g_steps": 1, "s_steps": 1, name: 1 + steps}
        many = statistics.median(_round(run, **counts) for _ in range(repeats))
        found[f"{phase}_wall_ms"] = 1000 * (many - one) / steps
        if run.device.type == "cuda":
            found |= {f"{phase}_{key}": value for key, value in _on_device(run, counts, steps).items()}
    return found


def launches(run: Run) -> dict[str, float] | str:
    """Kernels and graphs that the host launches in a step of each kind; ``run`` is of its own."""
    if run.device.type != "cuda":
        return "not measured: no GPU"
    _warm_up(run)
    counts: dict[str, list[int]] = {}
    for phase, name in PHASES.items():
        counts[phase] = []
        for steps in (1, 5):
            with profile(activities=[ProfilerActivity.CPU]) as recorded:
                _round(run, **{"g_steps": 1, "s_steps": 1, name: steps})
            counts[phase].append(sum(each.name.startswith(LAUNCHES) for each in recorded.events()))
    return {phase: (many - one) / 4 for phase, (one, many) in counts.items()}


def _warm_up(run: Run) -> None:
    """Be past the first rounds, in which what is compiled is compiled and recorded, and some losses rest."""
    run.round = max(each.start for each in run.recipe.losses.values())
    for _ in range(3):
        _round(run, 2, 2)


def _round(run: Run, g_steps: int, s_steps: int) -> float:
    """Seconds of a round of so many steps."""
    schedule = run.recipe.schedule
    run.recipe.schedule = dataclasses.replace(schedule, cycles=1, warm_up=0, g_steps=g_steps, s_steps=s_steps)
    wait = torch.cuda.synchronize if run.device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    run.advance()
    wait()
    return time.perf_counter() - start


def _on_device(run: Run, counts: dict[str, int], steps: int) -> dict[str, Any]:
    """The device's milliseconds of a step, and of its longest kernels with how often each ran."""
    few, many = (_kernels(run, **each) for each in ({"g_steps": 1, "s_steps": 1}, counts))
    none = (0.0, 0)
    more = {name: (ms - few.get(name, none)[0], count - few.get(name, none)[1]) for name, (ms, count) in many.items()}
    longest = sorted(more.items(), key=lambda each: -each[1][0])[:KERNELS]
    return {
        "device_ms": sum(ms for ms, _ in more.values()) / steps,
        "kernels": [[name[:120], ms / steps, count / steps] for name, (ms, count) in longest],
    }


def _kernels(run: Run, **counts: int) -> dict[str, tuple[float, int]]:
    """Milliseconds and number of each kernel in a round."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        _round(run, **counts)
    return {
        each.key: (each.self_device_time_total / 1000, each.count)
        for each in recorded.key_averages()
        if each.device_type.name == "CUDA"
    }
