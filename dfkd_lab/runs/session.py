"""A session: one process at work on one run folder, logging and saving as it goes."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from filelock import FileLock, Timeout

from dfkd_lab import data, methods, teachers
from dfkd_lab.engine import compilation, flops, metrics
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Diverged, Run
from dfkd_lab.engine.report import Report
from dfkd_lab.engine.trends import Trends
from dfkd_lab.errors import RunError
from dfkd_lab.runs import loss_history, memory_estimate, own_code, records, samples
from dfkd_lab.runs.async_writer import AsyncWriter
from dfkd_lab.runs.compiling import compile_run
from dfkd_lab.runs.folder import RunFolder, prepare
from dfkd_lab.runs.planning import ResolvedRun, resolve
from dfkd_lab.runs.recorder import CHECKPOINT, Recorder
from dfkd_lab.runs.requests import GRACE_S, Requests, Terminated
from dfkd_lab.runs.seal import SealBroken
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.device import free_memory, has_same_bits, provenance, reproducible, used_memory
from dfkd_lab.system.processes import keep_freed_memory
from dfkd_lab.system.signals import terminating_at

COMPILING = "compiling the networks; the first time here that takes a minute or more"
MOST_SAMPLE_FILES = 200
PATIENCE_S = 10  # for the lock of a process that has said its last word and is about to end


class Session:
    """``for report in Session(plan(...))``: one process at work on one run folder, from where the folder stands.

    Everything that can be refused is refused here, before the first step. The first ``stop()`` ends the run after
    this round, saved; ``pause()`` holds it between two steps. The first SIGTERM, if nothing else in the process answers
    it, is a ``stop()`` that gives up a round which goes on for longer than 20 s; the iteration then ends in
    ``SystemExit(75)``: call again.

    Args:
        resolved: The run; a spec, as a run folder has it, is resolved first.
        trust_code: Of which text the run's own Python files may be, as in :func:`~dfkd_lab.runs.planning.resolve`.

    Raises:
        SpecError: if teacher, data, memory or device do not allow this run.
        RunError: if the folder holds another run, is being written, or cannot be read or written.
    """

    def __init__(self, resolved: ResolvedRun | RunSpec, trust_code: str = ""):
        self.resolved = resolve(resolved, trust_code) if isinstance(resolved, RunSpec) else resolved
        self.spec, self.device = self.resolved.spec, self.resolved.device
        self.folder = RunFolder.of(self.spec)
        self.requests = Requests(self.folder)
        self.on_end: list[Callable[[], object]] = []
        """Called when the iteration has ended, however it did."""
        self._saved = self._reported = time.monotonic()
        own_code.refuse_other_run(self.folder, self.spec, self.resolved.code, trust_code)
        free, is_new = free_memory(self.device), not self.folder.path.exists()
        _ = self.resolved.composed  # anew, if an earlier session took it
        compilation.check(self.spec.compile == "yes", self.device)
        self._claim()
        try:
            self._prepare(free, is_new)
        except BaseException as error:
            self._lock.release()  # a traceback that somebody keeps would hold it
            if is_new:
                shutil.rmtree(self.folder.path, ignore_errors=True)  # nothing is in it but the spec
            if isinstance(error, OSError):
                raise RunError(self._not_written(error)) from None
            raise

    def _prepare(self, free: int | None, is_new: bool) -> None:
        """Measure the teacher, make the run, and take it to where the folder's checkpoint is."""
        self.recorder = Recorder(self.folder, self.spec)
        self.teacher = teachers.trained(self.resolved.teacher)
        split = teachers.evaluation_images(self.teacher.card, self.spec.data)
        if is_new and split is not None:
            self._status("running", f"measuring the teacher on {len(split.labels):,} images, unless that is known")
        self.calibration = teachers.measured(self.teacher, self.spec.data, split, self.device)
        self.teacher_accuracy = self.calibration.accuracy if self.calibration else None
        is_reference = methods.remark(self.resolved.method)
        self.real = teachers.real_images(self.teacher.card, self.spec.data) if is_reference else None
        evaluate = None if split is None else teachers.evaluation_of(split, self.teacher.card.classes)
        self.seal = self.resolved.seal
        self.seal.allow(self.folder.path)
        samples.prepare()
        self.run = self._make_run(self.resolved.take(), evaluate, used_memory(self.device), free)
        if evaluate is not None:
            evaluate.to(self.device)
            self.run.evaluate_every = self.spec.evaluate_every or flops.rounds_between(self.run, evaluate.images)
        self._continue()
        self.manifest = self._make_manifest(split)
        self._write_manifest()

    def _make_run(self, composed: ComposedRun, evaluate: metrics.Evaluation | None, used: int, free: int | None) -> Run:
        if self.real is not None:
            composed.give_real_images(self.real.images, self.real.labels)
        before = self.folder.manifest().get("memory", {}).get("buffer_on", "")
        where = "host" if (before, self.spec.buffer_on) == ("host", "auto") else self.spec.buffer_on
        self.memory = memory_estimate.place(composed, where, evaluate.images if evaluate else None, used, free)
        self.memory.check(self.spec.settings)  # before anything of the run is on the device
        steps = sum(composed.recipe.schedule.steps(self.spec.rounds))
        compile = compilation.is_wanted(self.spec.compile, self.device, steps)
        with memory_estimate.explained(self.spec.settings):
            return Run(composed, evaluate=evaluate, on_step=self._on_step, compile=compile)

    def __iter__(self) -> Generator[Report, None, None]:
        try:
            with terminating_at(self.requests.terminate), contextlib.suppress(Terminated):
                yield from self._rounds()
        finally:
            for each in self.on_end:
                each()

    def _rounds(self) -> Generator[Report, None, None]:
        if self.device.type == "cpu":
            keep_freed_memory()
        try:
            self._status("running")
            with AsyncWriter(self.device) as self.writer, reproducible(self.device, self.spec.deterministic):
                self._compile()
                while self.run.round < self.spec.rounds and self.requests.newest != "stop":
                    with memory_estimate.explained(self.spec.settings, self._kept()), self.seal:
                        report = self.run.advance()
                    self._keep(report)
                    yield report
                self._finish()
        except Diverged as error:
            self._fail(f"{error}; the state of round {self.recorder.checkpoint_round} is kept")
        except (SealBroken, RunError) as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(self._not_written(error))
        except (KeyboardInterrupt, GeneratorExit, Terminated) as error:
            self._status("stopped", f"{error}; {self._kept()}".removeprefix("; "))
            raise
        except Exception as error:  # a fault of a method or of ours: its traceback is the caller's
            self._status("failed", f"{type(error).__name__}: {error}; {self._kept()}")
            raise
        finally:
            self._lock.release()

    @property
    def will_compile(self) -> bool:
        """Whether there are networks to compile before the next round."""
        return bool(self.run.compiled) and self.run.round < self.spec.rounds

    def _compile(self) -> None:
        if self.will_compile:
            self._status("running", COMPILING)
            self.manifest["sessions"][-1]["compiled"] = compile_run(self.run, self.spec, self._kept())
            self._write_manifest()
            self._status("running")

    def pause(self) -> None:
        """Hold before the next step."""
        self.requests.newest = "pause"

    def resume(self) -> None:
        """Go on after a pause."""
        self.requests.newest = "run"

    def stop(self) -> None:
        """End after this round, saved."""
        self.requests.newest = "stop"

    def _on_step(self) -> float:
        return self.requests.at_step(self.recorder.beat, self._status)

    def _claim(self) -> None:
        """Make the folder and hold its lock, which the system lets go when this process dies."""
        path = self.folder.path
        self._lock = FileLock(path / "lock")
        try:
            (path / "samples").mkdir(parents=True, exist_ok=True)
            ending = self.folder.status()["state"] not in ("running", "paused")
            self._lock.acquire(timeout=PATIENCE_S if ending else 0)
        except Timeout:
            pid = self.folder.status().get("pid")
            raise RunError(f"{path} is being written by process {pid}; stop that one first, or give --out") from None
        except OSError as error:
            raise RunError(f"cannot make the run folder {path}: {error.strerror}; give another (out)") from None
        self.folder.take_request()
        prepare(self.resolved)

    def _continue(self) -> None:
        """Load the checkpoint, and forget rounds that were logged after it."""
        state, sentence = self.recorder.load()
        self.said = [sentence] if sentence else []
        if state is not None:
            records.refuse_other_teacher(self.folder, self.teacher)
            try:
                self.run.load_state_dict(state)
            except Exception as error:
                reason = (str(error) or type(error).__name__).splitlines()[0][:120]
                file = self.folder.path / CHECKPOINT
                raise RunError(f"{file} cannot be read ({reason}); remove it to begin again") from None
        self._first_round = self.run.round
        self._sealed_before = records.kept_sessions(self.folder, self._first_round)
        self._given = None if self.real is None else records.of_images(self.spec.data, self.real)
        self.trends = Trends(self.run.recipe.schedule, self.run.classes, self.recorder.begin(self.run.round))

    def _keep(self, report: Report) -> None:
        """Log the round, and hand over its samples, and a checkpoint when one is due."""
        start = time.perf_counter()
        report.alarms += self.trends.alarms(report)
        self.recorder.log(report)
        every = -(-self.spec.rounds // MOST_SAMPLE_FILES)
        if report.samples is not None and (report.round % every == 0 or report.round == 1):
            grid = self.folder.sample(report.round)
            if (losses := loss_history.known_to(self.run.recipe.memory.state_dict())) is not None:
                self.writer.put("losses", partial(loss_history.write, loss_history.file_of(grid)), losses)
            job = partial(samples.write, grid, self.manifest["teacher"]["class_names"])
            self.writer.put("samples", job, samples.shown(report.samples, report.seen.student))
        now = time.monotonic()
        due = now - self._saved >= self.spec.checkpoint_s or now - self._reported >= GRACE_S
        self._reported = now
        if due or report.round in (1, self.spec.rounds) or self.requests.newest == "stop":
            self._save()
        self._status("running")
        self.run.cost.writing_s += time.perf_counter() - start

    def _save(self) -> None:
        self.writer.put("checkpoint", partial(self._write_checkpoint, self.recorder.saver()), self.run.state_dict())
        self._saved = time.monotonic()

    def _write_checkpoint(self, save: Callable[[dict[str, Any]], None], state: dict[str, Any]) -> None:
        self._write_seal(state["round"])  # first: a round that is kept is never without its record
        save(state)

    def _finish(self) -> None:
        """Save, write the seal, and if all rounds are done the student."""
        start = time.perf_counter()
        self.writer.wait()
        if self.recorder.checkpoint_round != self.run.round:
            self._save()
            self.writer.wait()
        self.run.cost.writing_s += time.perf_counter() - start
        if self.run.round < self.spec.rounds:
            self._write_seal(self.run.round)
            self._status("stopped", "stopped on request; it can go on from there")
            return
        card = records.card_of_student(self.spec, self.teacher)
        teachers.save(self.run.student, card, self.folder.path / "student.safetensors")  # type: ignore[arg-type]
        self._write_seal(self.run.round)
        self._status("finished")
        self.recorder.finished()

    def _not_written(self, error: OSError) -> str:
        if not self.folder.path.exists():
            return f"{self.folder.path} was moved or removed while the run wrote it"
        return f"cannot write {error.filename or self.folder.path}: {error.strerror}; {self._kept()}"

    def _fail(self, sentence: str) -> None:
        for say in (partial(self._write_seal, self.run.round), partial(self._status, "failed", sentence)):
            with contextlib.suppress(OSError):  # no space left even for that: the sentence still reaches the caller
                say()
        raise RunError(sentence)

    def _kept(self) -> str:
        return f"{self.recorder.saved} is saved and the same command continues from it"

    def _status(self, state: str, message: str = "") -> None:
        self.recorder.status(state, self.run.round if hasattr(self, "run") else 0, message)

    def _make_manifest(self, split: data.Split | None) -> dict[str, Any]:
        session = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "from_round": self.run.round,
            "same_bits": has_same_bits(self.device, self.spec.deterministic),  # if resumed on such a device
            **provenance(self.device),
            **own_code.kept(self.folder, self.resolved.code),
        }
        return {
            **records.of_plan(self.spec, self.teacher.card.task),
            "memory": self.memory.record(),
            "notes": [*self.folder.notes(), *(each.reading for each in (self.real, split) if each and each.reading)],
            "teacher": records.of_teacher(self.teacher, self.calibration, split, self.spec.data),
            "student": records.of_student(self.spec, self.run.student),
            "evaluation": records.of_evaluation(self.spec.data, split),
            "sessions": [*self.folder.manifest().get("sessions", []), session],
        }

    def _write_manifest(self) -> None:
        self.recorder.manifest(self.manifest)

    def _write_seal(self, to_round: int) -> None:
        at, before = range(self._first_round, to_round), self._sealed_before
        seal = records.of_seal(self.seal, before, at, self.spec, self.teacher, self._given)
        self.recorder.seal(seal)
