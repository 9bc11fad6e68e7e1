"""A session: one process at work on one run folder, logging and saving as it goes."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from dfkd_lab import (
    catalogue,
    compilation,
    compose,
    data,
    flops,
    footprint,
    machine,
    measure,
    methods,
    nets,
    precision,
    samples,
    teachers,
)
from dfkd_lab.loop import Diverged, Run
from dfkd_lab.primitives.memory import Batch
from dfkd_lab.recipe import Method
from dfkd_lab.report import Report
from dfkd_lab.runs import RunError, RunFolder, default_folder, prepare, refuse_other_spec, write_atomically
from dfkd_lab.seal import Seal, SealBroken
from dfkd_lab.spec import RunSpec, SpecError
from dfkd_lab.writer import Writer

MOST_SAMPLE_FILES = 200


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
        self.device = machine.pick_device(spec.device)
        free = machine.free_memory(self.device)
        method = compose.method_of(spec)
        self.teacher = teachers.load(spec.teacher, spec.normalization, spec.data)
        if not self.teacher.norms:
            catalogue.recipe_of(method).check(batch_norms=False)  # before there is a folder
        split = data.evaluation_set(spec.data, self.teacher.card.shape)
        self.calibration = teachers.examine(self.teacher, split)
        self.teacher_accuracy = None if self.calibration is None else self.calibration.accuracy
        compilation.check(spec.compile, self.device)
        self.real = None
        if methods.remark(method):
            self.real = data.training_set(spec.data, self.teacher.card.shape)
        evaluate = None if split is None else measure.Accuracy(split.images, split.labels)
        self.seal = Seal(allowed=[self.folder.path])
        self._memory = machine.used_memory(self.device), free
        is_new = not self.folder.path.exists()
        self._claim()
        try:
            with self._sealed_composition():
                self.run = self._compose(method, evaluate)
            if evaluate is not None:
                evaluate.to(self.device)
                self.run.evaluate_every = spec.evaluate_every or flops.rounds_between(self.run, evaluate.images)
            self._continue()
            self._write_manifest(split)
        except SpecError:
            self._lock.close()
            if is_new:
                shutil.rmtree(self.folder.path)  # nothing is in it but the refused spec
            raise
        except BaseException:
            self._lock.close()  # a traceback that somebody keeps would hold it
            raise

    def _compose(self, method: Method, evaluate: measure.Accuracy | None) -> Run:
        return Run(
            method,
            self.teacher.model,
            lambda: teachers.student_of(self.teacher.card, self.spec.student),
            shape=self.teacher.card.shape,
            classes=self.teacher.card.classes,
            rounds=self.spec.rounds,
            seed=self.spec.seed,
            images=None if self.real is None else Batch(self.real.images, self.real.labels),
            evaluate=evaluate,
            poll=self._poll,
            look=self._look_at_memory,
            device=self.device,
            precision=precision.pick(self.spec.precision, self.device),
            cache_views=self.spec.cache_views,
            compile=self.spec.compile,
            tape=self.spec.tape,
        )

    def __iter__(self) -> Iterator[Report]:
        self._status("running")
        try:
            with Writer(self.device) as self.writer:
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
            raise RunError(str(error)) from None
        except RuntimeError as error:
            raise footprint.refusal(error, self.spec.settings) from None

    def _look_at_memory(self, run: Run) -> None:
        """Refuse a run that does not fit, before anything of it is on the device."""
        self.footprint = footprint.footprint_of(run, *self._memory)
        self.footprint.check(self.spec.settings)

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
            self._lock.close()
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
                reason = (str(error) or type(error).__name__).splitlines()[0][:120]
                raise RunError(f"{checkpoint} cannot be read ({reason}); remove it to begin again") from None
        self._checkpoint_round = self._begun_round = self.run.round
        lines = events.read_text().splitlines(keepends=True) if events.exists() else []
        write_atomically(events, "".join(lines[: self.run.round]).encode())
        for number, file in self.folder.samples().items():
            if number > self.run.round:
                file.unlink()
                file.with_suffix(".json").unlink(missing_ok=True)

    def _keep(self, report: Report) -> None:
        """Log the round, and hand over its samples, and a checkpoint when one is due."""
        begun = time.perf_counter()
        with (self.folder.path / "events.jsonl").open("a") as events:
            events.write(json.dumps(report.event()) + "\n")
        every = -(-self.spec.rounds // MOST_SAMPLE_FILES)
        if report.samples is not None and (report.round % every == 0 or report.round == 1):
            path, classes = self.folder.path / "samples" / f"round_{report.round:07d}.png", self.teacher.card.classes
            self.writer.put("samples", partial(samples.write, path, classes), samples.shown(report.samples))
        due = time.monotonic() - self._saved >= self.spec.checkpoint_s
        if due or report.round in (1, self.spec.rounds) or self.wish == "stop":
            self._save()
        self._status("running")
        self.run.cost.writing_s += time.perf_counter() - begun

    def _save(self) -> None:
        self.writer.put("checkpoint", self._write_checkpoint, self.run.state_dict())
        self._saved = time.monotonic()

    def _write_checkpoint(self, state: dict[str, Any]) -> None:
        write_atomically(self.folder.path / "checkpoint.pt", partial(torch.save, state))
        self._checkpoint_round = state["round"]

    def _finish(self) -> None:
        """Save, write the seal, and if all rounds are done the student."""
        begun = time.perf_counter()
        self.writer.wait()
        if self._checkpoint_round != self.run.round:
            self._save()
            self.writer.wait()
        self.run.cost.writing_s += time.perf_counter() - begun
        if self.run.round < self.spec.rounds:
            self._write_seal(self.run.round - self._begun_round)
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
        write_atomically(self.folder.path / "status.json", json.dumps({**facts, **process}).encode())

    def _write_manifest(self, split: data.Split | None) -> None:
        session = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "from_round": self.run.round,
            **machine.provenance(self.device),
        }
        manifest = {
            "method": {
                "name": self.spec.method,
                "certainty": methods.find(self.spec.method).certainty,
                "replaced": compose.replaced(self.spec),
            },
            "seed": self.spec.seed,
            "memory": self.footprint.record(),
            "teacher": {"accuracy": None, **self.teacher.describe(self.calibration)},
            "student": {"net": self.spec.student, "parameters": nets.parameter_count(self.run.student)},
            "evaluation": None if split is None else {"name": self.spec.data, "n": len(split.labels), **split.hashes()},
            "sessions": [*self.folder.manifest().get("sessions", []), session],
        }
        write_atomically(self.folder.path / "manifest.json", json.dumps(manifest, indent=1).encode())

    def _write_seal(self, rounds: int) -> None:
        before = self.folder.seal().get("sessions", [])
        news = rounds or self.seal.violations or not before
        record = self.seal.record()
        record["data_free"] = record["data_free"] and self.real is None
        sessions = [*before, {"sealed_rounds": rounds, **record}] if news else before
        given = {}
        if self.real is not None:
            digest = self.real.hashes()["images_sha256"]
            given = {"real_images": {"name": self.spec.data, "n": len(self.real.labels), "images_sha256": digest}}
        seal = {
            "data_free": all(session["data_free"] for session in sessions),
            "teacher_file": {"name": self.teacher.path.name, "sha256": self.teacher.sha256},
            "evaluation_set": self.spec.data,
            **given,
            "sessions": sessions,
        }
        write_atomically(self.folder.path / "seal.json", json.dumps(seal, indent=1).encode())
