"""The run folder: the one truth about a run, written by a session, read by every view.

spec.yaml            what was asked for, every setting resolved
manifest.json        versions, commit, device, teacher and data with their hashes
events.jsonl         a line a round, flushed
status.json          running, paused, stopped, finished or failed; by which process
samples/*.png        synthetic images by class
checkpoint.pt        one, atomic
student.safetensors  the last student
seal.json            what the distillation read
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from dfkd_lab import data, environment, measure, methods, nets, teachers
from dfkd_lab.loop import Diverged, Report, Run
from dfkd_lab.primitives.memory import Batch
from dfkd_lab.seal import Seal, SealBroken
from dfkd_lab.spec import RunSpec, SpecError, build, difference, knobs, record, unknown

NOT_IDENTITY = ("out", "checkpoint_s")
"""Settings that do not change what a run computes."""
MOST_SAMPLE_FILES = 200


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
    preset = dict(method.presets[_preset(spec, method)])
    rounds = preset.pop("rounds", method.presets["paper"]["rounds"])
    settings = record(build(method, {**preset, **given}, also=knobs(RunSpec)))
    if spec.student not in nets.CLASSIFIERS:
        raise SpecError("student: " + unknown(spec.student, nets.CLASSIFIERS, "network"))
    if spec.data not in data.EVALUATION_SETS:
        raise SpecError("data: " + unknown(spec.data, data.EVALUATION_SETS, "data set"))
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise SpecError("device = 'cuda', but torch sees no GPU here; allowed: 'auto' or 'cpu'")
    return dataclasses.replace(spec, settings=settings, rounds=spec.rounds or rounds)


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
        return (self.path / "spec.yaml").is_file()

    def spec(self) -> RunSpec:
        """What was asked for.

        Raises:
            RunError: if this is no run folder.
        """
        try:
            found = yaml.safe_load((self.path / "spec.yaml").read_text())
        except FileNotFoundError:
            raise RunError(f"{self.path} is not a run folder (it has no spec.yaml)") from None
        return build(RunSpec, found)

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
        _write_atomically(self.path / "control", wish.encode())

    def result(self) -> dict[str, Any]:
        """Last, mu, sigma and oracle best accuracy, the teacher's, agreement, seconds and the state."""
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
            "seconds": sum(value for name, value in cost.items() if name.endswith("_s")),
            **cost,
        }


def summary(folder: RunFolder) -> str:
    """The one line a finished run prints."""
    result = folder.result()
    shown = {name: "none" if result.get(name) is None else f"{result[name]:.3f}" for name in ("last", "teacher")}
    return f"student {shown['last']} teacher {shown['teacher']} seconds {result['seconds']:.1f} run {folder.path}"


def default_folder(spec: RunSpec) -> Path:
    """runs/<method>-<teacher>-<student>-seed<seed>."""
    teacher = Path(spec.teacher.rpartition("@")[2]).stem
    return Path("runs") / f"{spec.method}-{teacher}-{spec.student}-seed{spec.seed}"


class Session:
    """``for report in Session(spec)``: one process at work on one run folder, from where the folder stands.

    Everything that can be refused is refused here, before the first step. The first ``stop()`` ends the run after
    this round, saved; ``pause()`` holds it between two steps.
    """

    def __init__(self, spec: RunSpec):
        self.spec = spec
        self.folder = RunFolder(spec.out or default_folder(spec))
        self.wish, self._looked, self._saved = "run", 0.0, time.monotonic()
        refuse_other_spec(self.folder, spec)
        method = build(methods.find(spec.method), spec.settings)
        self.teacher = teachers.load(spec.teacher, spec.normalization)
        split = data.evaluation_set(spec.data)
        self.teacher_accuracy = teachers.check(self.teacher, split)
        self.device = pick_device(spec.device)
        evaluate = None
        if split is not None:
            evaluate = measure.Accuracy(split.images.to(self.device), split.labels.to(self.device))
        self.seal = Seal(allowed=[self.folder.path])
        self._claim()
        with self._sealed_composition():
            self.run = Run(
                method,
                self.teacher.model,
                lambda: teachers.student_of(self.teacher.card, spec.student),
                shape=self.teacher.card.shape,
                classes=self.teacher.card.classes,
                rounds=spec.rounds,
                seed=spec.seed,
                evaluate=evaluate,
                poll=self._poll,
                device=self.device,
            )
        self._continue()
        self._write_manifest(split)

    def __iter__(self) -> Iterator[Report]:
        self._status("running")
        try:
            while self.run.round < self.spec.rounds and self.wish != "stop":
                with self.seal:
                    report = self.run.advance()
                self._keep(report)
                yield report
            self._finish()
        except Diverged as error:
            self._fail(f"{error}; the state of round {self._checkpoint_round} is kept")
        except SealBroken as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"cannot write {error.filename or self.folder.path}: {error.strerror}; {self._kept()}")
        except (KeyboardInterrupt, GeneratorExit):
            self._status("stopped", self._kept())
            raise
        finally:
            self._lock.close()

    def pause(self) -> None:
        """Hold before the next step."""
        self.wish = "pause"

    def resume(self) -> None:
        """Go on after a pause."""
        self.wish = "run"

    def stop(self) -> None:
        """End after this round, saved."""
        self.wish = "stop"

    @contextlib.contextmanager
    def _sealed_composition(self) -> Iterator[None]:
        """A method that reads data while it composes fails like one that reads it later."""
        try:
            with self.seal:
                yield
        except SealBroken as error:
            self._write_seal(0)
            self._lock.close()
            raise RunError(str(error)) from None

    def _poll(self) -> None:
        """A safe point, before every step: look what the folder's readers wish, and wait while paused."""
        now = time.monotonic()
        if now - self._looked > 0.05:
            self._looked = now
            self._hear()
        if self.wish == "pause":
            self._status("paused")
            while self.wish == "pause":
                time.sleep(0.05)
                self._hear()
            self._status("running")

    def _hear(self) -> None:
        control = self.folder.path / "control"
        if control.exists():
            self.wish = control.read_text()
            control.unlink()

    def _claim(self) -> None:
        """Make the folder and hold its lock, which the system lets go when this process dies."""
        path = self.folder.path
        try:
            (path / "samples").mkdir(parents=True, exist_ok=True)
            self._lock = (path / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = self.folder.status().get("pid")
            raise RunError(f"{path} is being written by process {pid}; stop that one first, or give --out") from None
        except OSError as error:
            raise RunError(f"cannot make the run folder {path}: {error.strerror}; give another with --out") from None
        (path / "control").unlink(missing_ok=True)
        prepare(self.spec)

    def _continue(self) -> None:
        """Load the checkpoint, and forget rounds that were logged after it."""
        checkpoint, events = self.folder.path / "checkpoint.pt", self.folder.path / "events.jsonl"
        if checkpoint.exists():
            try:
                self.run.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
            except Exception as error:
                reason = str(error).splitlines()[0][:120]
                raise RunError(f"{checkpoint} cannot be read ({reason}); remove it to begin again") from None
        self._checkpoint_round = self._begun_round = self.run.round
        lines = events.read_text().splitlines(keepends=True) if events.exists() else []
        _write_atomically(events, "".join(lines[: self.run.round]).encode())
        for number, file in self.folder.samples().items():
            if number > self.run.round:
                file.unlink()

    def _keep(self, report: Report) -> None:
        """Log the round, its samples, and a checkpoint when one is due."""
        with (self.folder.path / "events.jsonl").open("a") as events:
            events.write(json.dumps(report.event()) + "\n")
        every = -(-self.spec.rounds // MOST_SAMPLE_FILES)
        if report.samples is not None and (report.round % every == 0 or report.round == 1):
            grid = sample_grid(report.samples, self.teacher.card.classes)
            grid.save(self.folder.path / "samples" / f"round_{report.round:07d}.png")
        due = time.monotonic() - self._saved >= self.spec.checkpoint_s
        if due or report.round in (1, self.spec.rounds) or self.wish == "stop":
            self._save()
        self._status("running")

    def _save(self) -> None:
        write = lambda file: torch.save(self.run.state_dict(), file)  # noqa: E731
        _write_atomically(self.folder.path / "checkpoint.pt", write)
        self._checkpoint_round, self._saved = self.run.round, time.monotonic()

    def _finish(self) -> None:
        """Save, and if all rounds are done write the student and the seal."""
        if self._checkpoint_round != self.run.round:
            self._save()
        if self.run.round < self.spec.rounds:
            self._status("stopped", "stopped on request; the same command continues")
            return
        card = dataclasses.replace(
            self.teacher.card, net=self.spec.student, data="", recipe=f"{self.spec.method} from {self.teacher.sha256}"
        )
        teachers.save(self.run.student, card, self.folder.path / "student.safetensors")  # type: ignore[arg-type]
        self._write_seal(self.run.round - self._begun_round)
        self._status("finished")

    def _fail(self, sentence: str) -> None:
        try:
            self._write_seal(self.run.round - self._begun_round)
            self._status("failed", sentence)
        except OSError:
            pass  # no space left even for that: the sentence still reaches the caller
        raise RunError(sentence)

    def _kept(self) -> str:
        return f"round {self._checkpoint_round} is saved and the same command continues from it"

    def _status(self, state: str, message: str = "") -> None:
        facts = {"state": state, "round": self.run.round, "rounds": self.spec.rounds, "message": message}
        process = {"pid": os.getpid(), "host": socket.gethostname(), "time": time.time()}
        _write_atomically(self.folder.path / "status.json", json.dumps({**facts, **process}).encode())

    def _write_manifest(self, split: data.Split | None) -> None:
        session = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "from_round": self.run.round,
            "versions": environment.versions(),
            "commit": commit(),
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
        }
        manifest = {
            "method": {"name": self.spec.method, "certainty": methods.find(self.spec.method).certainty},
            "seed": self.spec.seed,
            "teacher": {**self.teacher.describe(), "accuracy": self.teacher_accuracy},
            "student": {"net": self.spec.student, "parameters": nets.parameter_count(self.run.student)},
            "evaluation": None if split is None else {"name": self.spec.data, "n": len(split.labels), **_hashes(split)},
            "sessions": [*self.folder.manifest().get("sessions", []), session],
        }
        _write_atomically(self.folder.path / "manifest.json", json.dumps(manifest, indent=1).encode())

    def _write_seal(self, rounds: int) -> None:
        before = self.folder.seal().get("sessions", [])
        news = rounds or self.seal.violations or not before
        sessions = [*before, {"sealed_rounds": rounds, **self.seal.record()}] if news else before
        seal = {
            "data_free": all(session["data_free"] for session in sessions),
            "teacher_file": {"name": self.teacher.path.name, "sha256": self.teacher.sha256},
            "evaluation_set": self.spec.data,
            "sessions": sessions,
        }
        _write_atomically(self.folder.path / "seal.json", json.dumps(seal, indent=1).encode())


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
        _write_atomically(folder.path / "spec.yaml", yaml.safe_dump(record(spec), sort_keys=False).encode())
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder.path}: {error.strerror}; give another with --out") from None
    return folder


def launch(folder: RunFolder) -> subprocess.Popen[bytes]:
    """Begin or continue the run of a prepared folder in a process of its own, which outlives this one.

    What it prints is in ``log.txt``; everything else is in the folder.
    """
    with (folder.path / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dfkd_lab", "resume", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def list_runs(root: Path | str = "runs") -> list[RunFolder]:
    """The run folders below ``root``, newest first."""
    found = [path.parent for path in Path(root).glob("*/spec.yaml")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def sample_grid(batch: Batch, classes: int, columns: int = 10) -> Image.Image:
    """Up to ``columns`` images a class, one row for each of the first 20 classes the teacher sees, 1 pixel apart."""
    assert batch.predicted is not None
    images = (batch.images[: len(batch.predicted)].clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    predicted = batch.predicted.cpu()
    _, channels, height, width = images.shape
    grid = torch.full(
        (channels, min(classes, 20) * (height + 1) - 1, columns * (width + 1) - 1), 128, dtype=torch.uint8
    )
    for row in range(min(classes, 20)):
        for column, image in enumerate(images[predicted == row][:columns]):
            top, left = row * (height + 1), column * (width + 1)
            grid[:, top : top + height, left : left + width] = image
    pixels = grid.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels)


def pick_device(wish: str) -> torch.device:
    """The device that "auto", "cpu" or "cuda" means here."""
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit of this code, with "+" if it was changed since; "unknown" outside a checkout."""
    here = Path(__file__).parent
    ask = lambda *words: subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout  # noqa: E731
    try:
        return ask("rev-parse", "HEAD").strip() + ("+" if ask("status", "--porcelain", "--", ".").strip() else "")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"


def _hashes(split: data.Split) -> dict[str, str]:
    digest = lambda tensor: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()  # noqa: E731
    return {"images_sha256": digest(split.images), "labels_sha256": digest(split.labels)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def _write_atomically(path: Path, content: bytes | Callable[[Any], object]) -> None:
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


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
