"""The run folder: the one truth about a run, written by a session, read by every view.

spec.yaml            what was asked for, every setting resolved
manifest.json        versions, commit, device, teacher and data with their hashes
events.jsonl         a line a round, flushed
status.json          running, paused, stopped, finished or failed; by which process
samples/*.png        synthetic images by class; *.json beside it what the teacher says of each
checkpoint.pt        one, atomic
student.safetensors  the last student
seal.json            what the distillation read
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dfkd_lab import catalogue, compose, data, machine, measure, methods, nets, precision, teachers
from dfkd_lab.spec import RunSpec, SpecError, build, difference, knobs, record, unknown

NOT_IDENTITY = ("out", "checkpoint_s", "evaluate_every")
"""Settings that do not change what a run computes."""


class RunError(RuntimeError):
    """A run that cannot go on; the message says why and what is kept."""


def plan(values: Mapping[str, Any] | None = None, /, **more: Any) -> RunSpec:
    """A checked :class:`RunSpec` from names of run settings and of the method's settings, mixed or in ``settings``.

    Method settings come from the method's defaults, then its preset, then what is given. All of them end up in
    ``settings``, so that the record needs no preset table.

    Raises:
        SpecError: for anything that is unknown, of the wrong type or out of range.
    """
    values = {**(values or {}), **more}
    run_values = {name: value for name, value in values.items() if name in knobs(RunSpec)}
    spec = build(RunSpec, run_values)
    method = methods.find(spec.method)
    given = {**spec.settings, **{name: value for name, value in values.items() if name not in run_values}}
    chosen = _preset(spec, method)
    preset = dict(method.presets[chosen])
    rounds = preset.pop("rounds", method.presets["paper"]["rounds"])
    settings = record(build(method, {**preset, **given}, also=knobs(RunSpec)))
    teachers.locate(spec.teacher, spec.normalization)
    try:
        nets.check(spec.student)
    except SpecError as error:
        raise SpecError(f"student: {error}") from None
    data.check(spec.data)
    if methods.remark(method) and spec.data == "none":
        names = ", ".join((*data.TRAINING_SETS, "folder:PATH"))
        raise SpecError(f"'{spec.method}' learns from real images, and data = '{spec.data}' has none; choose: {names}")
    machine.check_device(spec.device)
    held = precision.pick(spec.precision, machine.pick_device(spec.device))
    spec = dataclasses.replace(spec, settings=settings, rounds=spec.rounds or rounds, preset=chosen, precision=held)
    composed = compose.method_of(spec)
    if isinstance(composed, compose.Composed):
        catalogue.recipe_of(composed).check()
    return spec


def _preset(spec: RunSpec, method: type[Any]) -> str:
    if spec.preset != "auto":
        if spec.preset not in method.presets:
            raise SpecError("preset: " + unknown(spec.preset, method.presets, f"preset of {spec.method}"))
        return spec.preset
    guess = spec.data if spec.data != "none" else spec.teacher
    return guess if guess in method.presets else "paper"


def from_namespace(namespace: Mapping[str, Any]) -> RunSpec:
    """The plan that the run settings among ``namespace`` give; for a notebook's parameters: ``globals()``."""
    return plan({name: namespace[name] for name in knobs(RunSpec) if name in namespace})


class RunFolder:
    """Reads a run folder, live or finished, and passes wishes (pause, stop) to the process that writes it."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def exists(self) -> bool:
        """Whether a run was started here."""
        try:
            return (self.path / "spec.yaml").is_file()
        except PermissionError:
            return False

    def spec(self) -> RunSpec:
        """What was asked for.

        Raises:
            RunError: if this is no run folder.
        """
        try:
            found = yaml.safe_load((self.path / "spec.yaml").read_text())
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run folder (it has no spec.yaml)") from None
        return build(RunSpec, {"precision": "fp32", **found})  # runs older than the setting

    def manifest(self) -> dict[str, Any]:
        """Provenance; empty before the run has begun."""
        return _read_json(self.path / "manifest.json")

    def seal(self) -> dict[str, Any]:
        """What the distillation read; empty before the end."""
        return _read_json(self.path / "seal.json")

    def events(self, start: int = 0) -> list[dict[str, Any]]:
        """One dictionary a round, from round ``start`` + 1 on. A line that is being written is left for later."""
        try:
            lines = (self.path / "events.jsonl").read_text().split("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[start:-1]]

    def samples(self) -> dict[int, Path]:
        """Sample grids by round."""
        files = sorted((self.path / "samples").glob("round_*.png"))
        return {int(file.stem.removeprefix("round_")): file for file in files}

    def status(self) -> dict[str, Any]:
        """state, round, rounds, pid, host, message; a run whose process is gone is "stopped"."""
        status = _read_json(self.path / "status.json") or {"state": "new", "round": 0}
        here = status.get("host") == socket.gethostname()
        if status["state"] in ("running", "paused") and here and not _alive(status["pid"]):
            status |= {"state": "stopped", "message": "its process is gone"}
        return status

    def ask(self, wish: str) -> None:
        """Ask the writing process to "pause", "run" or "stop" (after this round)."""
        write_atomically(self.path / "control", wish.encode())

    def result(self) -> dict[str, Any]:
        """Last, mu, sigma and oracle best accuracy over evaluated rounds, the teacher's, agreement, cost, state."""
        events = self.events()
        accuracies = [event["accuracy"] for event in events if event["accuracy"] is not None]
        last = events[-1] if events else {}
        cost = last.get("cost", {})
        return {
            "state": self.status()["state"],
            "rounds": len(events),
            **measure.expected(accuracies),
            "teacher": self.manifest().get("teacher", {}).get("accuracy"),
            "agreement": last.get("health", {}).get("agreement"),
            "seconds": measure.seconds(cost),
            **cost,
        }


def summary(folder: RunFolder) -> str:
    """The one line a finished run prints."""
    result = folder.result()
    shown = {name: "none" if result.get(name) is None else f"{result[name]:.3f}" for name in ("last", "teacher")}
    note = f"({found}) " if (found := remark(folder)) else ""
    return f"student {shown['last']} teacher {shown['teacher']} seconds {result['seconds']:.1f} {note}run {folder.path}"


def remark(folder: RunFolder) -> str:
    """What no result of this run is shown without; empty if its method is data-free."""
    return methods.remark(methods.METHODS.get(folder.manifest().get("method", {}).get("name")))


def postfix(event: Mapping[str, Any]) -> str:
    """Accuracy and health of a round, for behind a progress bar."""
    accuracy = [] if event["accuracy"] is None else [f"accuracy {event['accuracy']:.3f}"]
    shown = [f"{name} {event['health'][name]:.2f}" for name in ("agreement", "entropy", "confidence")]
    return " ".join(accuracy + shown)


def runs_root() -> Path:
    """Where runs are kept: runs/, beside the notebooks folder when a notebook asks from inside it."""
    return Path("../runs" if Path.cwd().name == "notebooks" else "runs")


def default_folder(spec: RunSpec) -> Path:
    """runs/<method>[+<slot>_<filling>]-<teacher>-<student>-seed<seed>."""
    teacher = Path(spec.teacher.rpartition("@")[2]).stem
    replaced = "".join(f"+{slot}_{value.partition(':')[0]}" for slot, value in compose.replaced(spec).items())
    student = spec.student.rpartition(":")[2]
    return runs_root() / f"{spec.method}{replaced}-{teacher}-{student}-seed{spec.seed}"


def refuse_other_spec(folder: RunFolder, spec: RunSpec) -> None:
    """Same folder, same spec, or nothing.

    Raises:
        RunError: showing what differs.
    """
    if not folder.exists():
        return
    ours, theirs = record(spec), record(folder.spec())
    changed = difference(*({k: v for k, v in each.items() if k not in NOT_IDENTITY} for each in (ours, theirs)))
    if changed:
        raise RunError(f"{folder.path} holds a run of another spec ({'; '.join(changed)}); give another --out")


def prepare(spec: RunSpec) -> RunFolder:
    """Write ``spec`` into its run folder, so that another process can begin it with ``resume``.

    Raises:
        RunError: if the folder holds a run of another spec, or cannot be written.
    """
    folder = RunFolder(spec.out or default_folder(spec))
    refuse_other_spec(folder, spec)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        write_atomically(folder.path / "spec.yaml", yaml.safe_dump(record(spec), sort_keys=False).encode())
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder.path}: {error.strerror}; give another with --out") from None
    return folder


def launch(folder: RunFolder) -> subprocess.Popen[bytes]:
    """Begin or continue the run of a prepared folder in a process of its own, which outlives this one.

    What it prints is in ``log.txt``; everything else is in the folder.
    """
    with (folder.path / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "dfkd_lab", "resume", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    return child


def list_runs(root: Path | str | None = None) -> list[RunFolder]:
    """The run folders below ``root`` (or :func:`runs_root`), newest first."""
    found = [path.parent for path in Path(root or runs_root()).glob("*/spec.yaml")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def write_atomically(path: Path, content: bytes | Callable[[Any], object]) -> None:
    """All of the new content or all of the old, also when the process is killed or the disk is full."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


_children: list[subprocess.Popen[bytes]] = []


def _alive(pid: int) -> bool:
    for child in _children:
        child.poll()  # one that has ended looks alive until its parent has asked
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
