"""How fast the loop is here: ``python benchmarks/speed.py`` writes results/speed.json and the part of RESULTS.md.

``bench`` with what is at hand, one entry a device; beside it, whether ten times the rounds take ten
times as long, and what evaluation, samples and checkpoints cost in a session. What is recorded for this device and
commit is not measured again, unless ``--again``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dfkd_lab.system.processes import tune_process

tune_process()  # before torch, as the command line does: it says how OpenMP's threads wait

import torch
import tyro
from benchmark import refused
from results_page import render

from dfkd_lab import Session, bench, plan
from dfkd_lab.bench.overhead import Pair
from dfkd_lab.engine.loop import Run
from dfkd_lab.spec import build
from dfkd_lab.system.device import (
    check_device,
    commit,
    device_name,
    pick_device,
    provenance,
    used_memory,
)
from dfkd_lab.system.files import write_atomically

SPEED = Path(__file__).parent / "results/speed.json"
SHORT_ROUNDS = 4
LEAST_S = 45.0
DIGITS = {"warm_up": 0}


def main(repeats: int = 11, methods: str = "", device: str = "auto", again: bool = False) -> None:
    """Measure on ``device``; on a GPU every method by default, on a CPU the three of the bars."""
    with refused():
        build(bench.BenchSpec, {"repeats": repeats, "device": device})
        check_device(device)
        where = pick_device(device)
        wanted = methods or ("all" if where.type == "cuda" else "ssd_kd,fast,dafl")
        usual: dict[str, Any] = {"repeats": repeats, "least_s": LEAST_S, "methods": wanted, "device": where.type}
        request = bench.BenchSpec(pairs=PAIRS.get(where.type, PAIRS["cpu"]), **usual)
        parts: dict[str, Callable[[], Any]] = {
            "bench": lambda: bench.measure(request),
            "length": lambda: length(where),
            "session": lambda: session(where),
        }
        for name, measure in parts.items():
            found = load()
            row = found.get(device_name(where), {})
            if again or name not in row or row[name]["commit"] != commit():
                row[name] = {**provenance(where), **measure()}
                found[device_name(where)] = row
                write_atomically(SPEED, (json.dumps(found, indent=1) + "\n").encode())
    render()


PAIRS = {"cpu": "digits,resnet20:resnet8", "cuda": "wrn40_2:wrn16_1,resnet34:resnet18"}


def length(device: torch.device) -> dict[str, Any]:
    """Ten runs and one of ten times the rounds, a part of it after each of them: seconds and memory of both."""
    pair = Pair.of("digits")
    held: dict[str, Any] = {"device": device, "precision": "fp32"}
    long, short_s, long_s, memory = pair.run("fast", DIGITS, **held), [], [], []
    long.advance()
    for _ in range(10):
        short = pair.run("fast", DIGITS, **held)
        short.advance()
        short_s.append(_rounds(short))
        long_s.append(_rounds(long))
        memory.append(used_memory(device))
    return {
        "rounds": [SHORT_ROUNDS, 10 * SHORT_ROUNDS],
        "short_s": short_s,
        "long_s": long_s,
        "ratio": 10 * sum(long_s) / sum(short_s),
        "memory_bytes": [memory[0], memory[-1]],
    }


def _rounds(run: Run) -> float:
    start = time.perf_counter()
    for _ in range(SHORT_ROUNDS):
        run.advance()
    return time.perf_counter() - start


def session(device: torch.device) -> dict[str, Any]:
    """What holds the loop up in the main job: seconds of evaluation, and of log, samples and checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        whole = Session(plan(method="ssd_kd", device=device.type, out=f"{folder}/run"))
        for _ in whole:
            pass
        seconds = time.perf_counter() - start
    cost = whole.run.cost
    return {"seconds": seconds, "share": (cost.evaluation_s + cost.writing_s) / seconds, "cost": asdict(cost)}


def load() -> dict[str, dict[str, Any]]:
    """What is recorded, by device."""
    return json.loads(SPEED.read_text()) if SPEED.exists() else {}


if __name__ == "__main__":
    tyro.cli(main)
