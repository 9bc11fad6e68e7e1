"""What only a GPU can show, a part at a time: ``python benchmarks/gpu.py --out FOLDER --minutes 9``, or ``make gpu``.

Each task of a stage is measured once on a kind of device, and written at once into results/gpu.json, and into ``--out``
with what else is small: the same rows, and the networks in half precision, a file a stage. A call goes on where the
last one stopped, and begins no task that is not likely to end in its time; a run that is stopped goes on from its
folder below ``--runs``. ``--jobs 8`` has runs side by side, each of which leaves most of a large GPU idle. ``--tiny``
rehearses everything on a CPU, at sizes that mean nothing, and keeps no result.

It needs torch, torchvision, numpy, scikit-learn, pyyaml, safetensors, tqdm and filelock; ``$DFKD_DATA`` has CIFAR-10
(``gather_cifar.py`` lays it together from pieces; most runs need only ``test_batch``) and the public teachers.
"""

from __future__ import annotations

import argparse
import fnmatch
import glob
import json
import math
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # a lent machine has the repository, and nothing installed

import gpu_runs
import torch
from filelock import FileLock
from gpu_profile import launches, profiled
from gpu_tasks import Request, Task
from results_page import render
from rows import FOLDER, typed_folder

from dfkd_lab import METHODS, Session, SpecError, plan, teachers
from dfkd_lab.bench.overhead import Pair, measure_overhead
from dfkd_lab.engine import precision
from dfkd_lab.nets import classifier
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.spec import settings_of
from dfkd_lab.system.device import check_device, device_name, peak_memory, pick_device, provenance
from dfkd_lab.system.files import write_atomically
from tests.support import tiny

RESULTS = FOLDER / "gpu.json"
TIMED = ("speed", "profile", "large")
"""Stages whose figures are times."""
CORE = ("ssd_kd", "fast", "dafl", "pre_dfkd", "cgdd")


def minutes(text: str) -> float:
    """The time that ``text`` says.

    Raises:
        ArgumentTypeError: if it is none, or has no end.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; allowed: a number of minutes, 0 or more")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Do what fits into the time; 1 if a task failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--out", type=typed_folder, default=Path("runs/gpu-out"), help="gets rows and networks, all small"
    )
    parser.add_argument(
        "--runs", type=typed_folder, default=Path("runs/gpu"), help="run folders, which a later call goes on with"
    )
    parser.add_argument("--minutes", type=minutes, default=9.0, help="when to stop, saved")
    parser.add_argument("--stages", default=",".join(STAGES), help="of %(default)s, with commas")
    parser.add_argument("--device", default="auto", help="cuda or cpu; auto takes a GPU")
    parser.add_argument("--tiny", action="store_true", help="rehearse at tiny sizes; also on a CPU")
    parser.add_argument("--again", action="store_true", help="measure what results/gpu.json has, too")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN", help="tasks, as in smoke/*compiled")
    parser.add_argument(
        "--jobs", type=int, default=1, help="tasks at a time, each a process, where no time is measured"
    )
    given = parser.parse_args(arguments)
    stages = given.stages.split(",")
    if unknown := [name for name in stages if name not in STAGES]:
        parser.error(f"--stages {unknown[0]}: allowed: {', '.join(STAGES)}")
    try:
        check_device(given.device)
    except SpecError as error:
        parser.error(str(error))
    device = pick_device(given.device)
    if device.type == "cpu" and not given.tiny:
        parser.error("there is no GPU here, and these sizes take days on a CPU; --tiny rehearses")
    request = Request(given.out, given.runs, device, given.tiny, time.monotonic() + 60 * given.minutes)
    tasks = [task for name in stages for task in STAGES[name]()]
    for pattern in given.only:
        if not fnmatch.filter([task.key for task in tasks], pattern):
            known = [task.key for task in tasks if task.stage == pattern.partition("/")[0]]
            parser.error(
                f"--only {pattern}: no such task; allowed: {', '.join(known or [f'{each}/*' for each in stages])}"
            )
    chosen = [task for task in tasks if any(fnmatch.fnmatch(task.key, each) for each in given.only)]
    timed = [task.key for task in chosen if task.stage in TIMED]
    if given.jobs < 1 or (given.jobs > 1 and timed):
        why = f": {timed[0]} measures times, which others beside it would spoil" if timed else ""
        parser.error(f"--jobs {given.jobs}{why}; allowed: 1{'' if timed else ' and more'}")
    return work(request, chosen, given.again, given.jobs)


def work(request: Request, tasks: list[Task], again: bool, jobs: int = 1) -> int:
    """Do ``tasks`` until the time is over; 1 if one of them failed."""
    rows = load(request).get(device_name(request.device), {})
    state = {task.key: rows.get(task.key, {}).get("state") for task in tasks}
    left = sorted(
        (task for task in tasks if again or not (task.is_recorded or state[task.key] == "finished")),
        key=lambda task: state[task.key] == "failed",
    )
    if jobs > 1:
        with ThreadPoolExecutor(jobs) as pool:
            failed = list(pool.map(partial(_in_a_process, request), left))
    else:
        failed = [_do(request, task) for task in left]
    if not request.tiny:
        with FileLock(RESULTS.with_suffix(".lock")):
            render()
    return int(any(failed))


def _do(request: Request, task: Task) -> bool:
    """Do a task, if there is time; whether it failed."""
    if request.left < task.seconds:
        print(f"{task.key}: not begun, {request.left:.0f} s are left", flush=True)
        return False
    row = attempt(task, request)
    print(f"{task.key}: {row['state']} {row['seconds']:.1f} s {row.get('reason', '')}".rstrip(), flush=True)
    save(request, device_name(request.device), task.key, row)
    return bool(row["state"] == "failed")


def _in_a_process(request: Request, task: Task) -> bool:
    """As :func:`_do`, beside others."""
    words = [
        f"--only={glob.escape(task.key)}",
        f"--minutes={max(0.0, request.left) / 60}",
        f"--out={request.out}",
        f"--runs={request.runs}",
    ]
    words += [f"--device={request.device.type}", "--again", *(["--tiny"] if request.tiny else [])]
    return subprocess.run([sys.executable, __file__, *words], check=False).returncode != 0


def attempt(task: Task, request: Request) -> dict[str, Any]:
    """A row: what the task gives, or why it gives nothing, with provenance."""
    start = time.perf_counter()
    facts: dict[str, Any]
    try:
        facts = {"state": "finished", **task.run(request)}
    except Exception as error:  # a row says it, and the next task is begun
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        facts = {"state": "failed", "reason": f"{type(error).__name__}: {lines[0]}"[:300]}
    torch.compiler.reset()  # what was compiled for one task is of no use to the next
    if request.device.type == "cuda":
        torch.cuda.empty_cache()
    return {**provenance(request.device), **facts, "seconds": round(time.perf_counter() - start, 2)}


def load(request: Request) -> dict[str, dict[str, Any]]:
    """All rows, by device and task; a rehearsal knows only its own."""
    files = [request.out / "gpu.json"] if request.tiny else [RESULTS, request.out / "gpu.json"]
    rows: dict[str, dict[str, Any]] = {}
    for file in files:
        for where, found in (json.loads(file.read_text()) if file.exists() else {}).items():
            rows.setdefault(where, {}).update(found)
    return rows


def save(request: Request, where: str, key: str, row: dict[str, Any]) -> None:
    """Put a row where it belongs; another call, of other tasks, may do so at the same time."""
    request.out.mkdir(parents=True, exist_ok=True)
    for file in [request.out / "gpu.json", *([] if request.tiny else [RESULTS])]:
        with FileLock(file.with_suffix(".lock")):
            rows = json.loads(file.read_text()) if file.exists() else {}
            rows.setdefault(where, {})[key] = row
            write_atomically(file, (json.dumps(rows, indent=1) + "\n").encode())


# smoke: every method, three rounds of a whole session


def smoke() -> list[Task]:
    """Every method, eager and compiled."""
    return [
        Task("smoke", f"{name} {how}", partial(_smoke, name, compile), 20.0 if compile == "no" else 60.0)
        for how, compile in (("eager", "no"), ("compiled", "yes"))
        for name in sorted(METHODS, key=lambda name: name not in CORE)
    ]


def _smoke(method: str, compile: str, request: Request) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        spec = plan(
            method=method, teacher="digits", data="digits", preset="digits", rounds=3, compile=compile,
            device=request.device.type, settings=tiny(method), out=f"{folder}/run",
        ).spec  # fmt: skip
        session = Session(spec)
        reports = list(session)
        compiled = RunFolder(f"{folder}/run").manifest()["sessions"][-1].get("compiled", {})
        return {"rounds": len(reports), "accuracy": reports[-1].accuracy, "compiled": compiled}


# speed: images a second, overhead over bare passes, memory, launches


def speed() -> list[Task]:
    """Five methods on WRN-40-2 -> WRN-16-1: eager, compiled, and compiled with kept views where images are kept."""
    ways = (("eager", False, 0), ("compiled", True, 0), ("compiled, kept views", True, 4))
    return [
        Task("speed", f"{method} {how}", partial(_speed, method, compile, views), 45.0)
        for method in CORE
        for how, compile, views in ways
        if not views or method in ("ssd_kd", "fast")
    ]


def _speed(method: str, compile: bool, views: int, request: Request) -> dict[str, Any]:
    pair = Pair.of("resnet8:resnet8" if request.tiny else "wrn40_2:wrn16_1")
    device, repeats = request.device, 2 if request.tiny else 7
    how: dict[str, Any] = {
        "precision": precision.pick("auto", device),
        "cache_views": views,
        "compile": compile,
        "device": device,
    }
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    alone = pair.run(method, request.settings(method), **how)
    row = {"launches": launches(alone), "peak_memory_bytes": peak_memory(device)}
    del alone
    row |= measure_overhead(pair, method, request.settings(method), repeats, **how)
    return {**{name: value for name, value in how.items() if name != "device"}, **row}


# profile: what a step waits for

WAYS = {f"{how}{', by trial' if trial else ''}": (how == "compiled", trial)
        for how in ("eager", "compiled") for trial in (False, True)}  # fmt: skip


def profile() -> list[Task]:
    """SSD-KD's steps by the host's clock and the device's; "by trial": cuDNN's kernels, chosen by trying them."""
    return [
        Task("profile", f"{pair} {way}", partial(_profile, pair, *how), 120.0 if how[0] else 40.0)
        for pair in ("resnet56:resnet20", "wrn40_2:wrn16_1")
        for way, how in WAYS.items()
    ]


def _profile(pair: str, compile: bool, trial: bool, request: Request) -> dict[str, Any]:
    held = precision.pick("auto", request.device)
    with torch.backends.cudnn.flags(enabled=True, benchmark=trial):
        run = Pair.of("resnet8:resnet8" if request.tiny else pair).run(
            "ssd_kd", request.settings("ssd_kd"), precision=held, compile=compile, cache_views=0, device=request.device
        )
        return {"precision": held, **profiled(run, steps=2 if request.tiny else 50)}


# large images


def large() -> list[Task]:
    """ResNet-50 -> ResNet-18, 224 pixels, 1,000 classes, random weights: what it takes, not what it learns."""
    return [Task("large", f"{method} {how}", partial(_large, method, compile), 100.0)
            for method in ("fast", "ssd_kd") for how, compile in (("eager", "no"), ("compiled", "yes"))]  # fmt: skip


def _large(method: str, compile: str, request: Request) -> dict[str, Any]:
    side, net, student = 224, "torchvision:resnet50", "torchvision:resnet18"
    if request.tiny:
        side, net, student = 48, "resnet8", "resnet8"
    sizes = {"s_steps": 20, "g_steps": 10, "batch": 64, "s_batch": 64, "warm_up": 1, "capacity": 2000}
    known = settings_of(METHODS[method])
    settings = request.settings(method) or {name: value for name, value in sizes.items() if name in known}
    with tempfile.TemporaryDirectory() as folder:
        model = classifier(net, 3, 1000)
        teacher = teachers.adopt("large", model, (3, side, side), 1000, "imagenet", Path(folder))
        spec = plan(
            method=method, teacher=teacher, student=student, data="none", rounds=4, generator="deep", compile=compile,
            device=request.device.type, settings=settings, out=f"{folder}/run",
        ).spec  # fmt: skip
        session = Session(spec)
        if request.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        reports = list(session)
        first, last = reports[-2].cost, reports[-1].cost
        steps, seconds = last.s_steps - first.s_steps, last.distillation_s - first.distillation_s
        batch = session.run.recipe.schedule.batch
        return {
            "peak_memory_bytes": peak_memory(request.device),
            "memory": RunFolder(f"{folder}/run").manifest()["memory"],
            "student_images_per_s_of_distillation": steps * batch / seconds,
            "synthesis_s": last.synthesis_s - first.synthesis_s,
            "settings": settings,
        }


STAGES: dict[str, Callable[[], list[Task]]] = {
    "smoke": smoke,
    "speed": speed,
    "profile": profile,
    "public": lambda: gpu_runs.paper("public", "resnet56:resnet20", "resnet20:resnet8"),
    "ladder": gpu_runs.ladder,
    "hour": gpu_runs.hour,
    "wrn": lambda: gpu_runs.paper("wrn", "wrn40_2:wrn16_1"),
    "resnet34": lambda: gpu_runs.paper("resnet34", "resnet34:resnet18"),
    "large": large,
}
"""In the order in which they are worth their time."""

if __name__ == "__main__":
    sys.exit(main())
