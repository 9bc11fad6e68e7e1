"""Runs of the benchmarks on a GPU: what is not recorded of them, each in the process that asks for it."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cifar
import ladder_cifar
from benchmark import Benchmark, Flags, teacher_of
from filelock import FileLock
from gpu_tasks import Request, Task
from rows import FOLDER, curve, run_of
from safetensors.torch import load_file, save_file

from dfkd_lab import Session
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.planning import settled
from dfkd_lab.spec import RunSpec
from dfkd_lab.teachers.teacher_spec import EPOCHS

LARGEST_FILE = 15_000_000
"""Bytes of a network that is still copied into ``--out``."""
FIRST = ("ssd_kd", "fast")


def paper(stage: str, *pairs: str) -> list[Task]:
    """Every planned row of ``pairs`` at the paper's full budget, of which the networks are kept."""
    rows = [row for row in cifar.planned() if row.budget == "paper" and row.pair in pairs]
    rows.sort(key=lambda row: row.method not in FIRST)
    run = lambda row: partial(_run, cifar.benchmark_of([row], "auto"), row.name, 0, stage)  # noqa: E731
    return [Task(stage, f"{row.pair} {row.method}", run(row), 90.0) for row in rows]


def ladder() -> list[Task]:
    """SSD-KD taken apart on CIFAR-10: every arm and seed."""
    return list(_runs("ladder", ladder_cifar.BENCHMARK))


def hour() -> list[Task]:
    """The rows at an hour of two CPU cores, over three seeds."""
    rows = [row for row in cifar.planned() if row.budget == "hour"]
    return list(_runs("hour", dataclasses.replace(cifar.benchmark_of(rows, "auto"), seeds=(0, 1, 2))))


def _runs(stage: str, benchmark: Benchmark) -> Iterator[Task]:
    missing, given = benchmark.missing(Flags()), benchmark.settings
    # as on the CPUs where other runs of its rows were
    benchmark = dataclasses.replace(benchmark, settings=lambda *row: {"precision": "fp32", **given(*row)})
    for row, seed in benchmark.missing(Flags(again=True)):
        run = partial(_run, benchmark, row, seed, "")
        yield Task(stage, f"{row} seed {seed}", run, 30.0, is_recorded=(row, seed) not in missing)


def _run(benchmark: Benchmark, row: str, seed: int, networks: str, request: Request) -> dict[str, Any]:
    """A run of ``row``; a teacher that nobody has is trained first. ``networks`` names the file that has them then."""
    found: list[Path] = []

    def teacher(net: str, data: str, epochs: int = EPOCHS, device: str = "") -> str:
        net, data, epochs = ("convnet_8", "digits", 1) if request.tiny else (net, data, epochs)
        request.runs.mkdir(parents=True, exist_ok=True)
        with FileLock(request.runs / f"{data}_{net}.lock"):  # tasks beside this one wait for the same teacher
            file = teacher_of(net, data, request.device.type, request.end, request.runs, epochs)
        found.extend([file] if file else [])
        return str(file or "")

    settings = dict(benchmark.settings(row, teacher))
    if not found:
        return {"state": "stopped", "reached": "the teacher is not trained"}
    if request.tiny:
        few = request.settings(settings["method"])
        settings = {"method": settings["method"], "teacher": settings["teacher"], "rounds": 2, "settings": few}
        settings |= {"data": "digits", "student": "convnet_8"}
    spec = settled({**settings, "seed": seed, "device": request.device.type})
    folder = RunFolder(request.runs / re.sub(r"[^\w.-]+", "-", f"{row}-seed{seed}"))
    if not finish(spec, folder, request.end):
        return unfinished(folder)
    if not request.tiny:
        benchmark.keep(row, folder)
        request.out.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / f"{benchmark.name}.json", request.out)
    facts = {**run_of(folder), "curve": curve(folder)}
    if not networks:
        return facts
    copied = {row: folder.path / "student.safetensors", found[0].stem: found[0]}
    into = request.out / f"{networks}.safetensors"
    return {**facts, "networks": {name: copy_network(name, file, into) for name, file in copied.items()}}


def finish(spec: RunSpec, folder: RunFolder, end: float) -> bool:
    """Run ``spec`` in ``folder``, in this process, or go on with it, until ``end``, saved; whether it is finished."""
    if folder.status()["state"] != "finished":
        session = Session(dataclasses.replace(spec, out=folder.out))
        for _ in session:
            if time.monotonic() > end:
                session.stop()
    return bool(folder.status()["state"] == "finished")


def unfinished(folder: RunFolder) -> dict[str, Any]:
    """What a run came to that was stopped; a lent machine keeps nothing else of it."""
    last = folder.reports()[-1]
    points = curve(folder)
    best = f", {100 * points[-1][1]:.2f} % after round {points[-1][0]}" if points else ""
    reached = f"round {last.round} of {last.rounds}, {last.cost.s_steps:,} student steps{best}"
    return {"state": "stopped", "reached": reached, "curve": points, **folder.manifest()["sessions"][-1]}


def copy_network(name: str, file: Path, into: Path) -> str:
    """Add a network in half precision to those of its stage; what became of it."""
    if file.suffix != ".safetensors":
        return f"public: {file.name}"
    weights = {f"{name}/{key}": tensor.half() if tensor.is_floating_point() else tensor
               for key, tensor in load_file(file).items()}  # fmt: skip
    into.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(into.with_suffix(".lock")):
        both = {**(load_file(into) if into.exists() else {}), **weights}
        if sum(tensor.nbytes for tensor in both.values()) > LARGEST_FILE:
            return f"not copied: {sum(tensor.nbytes for tensor in weights.values()) / 1e6:.0f} MB"
        save_file(both, into)
    return into.name
