"""What a session writes of its run, and how another session finds it again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfkd_lab.engine.report import Report
from dfkd_lab.errors import DamagedFile, RunError
from dfkd_lab.nets import python_file
from dfkd_lab.runs import contents, loss_history, standing
from dfkd_lab.runs.digests import Digests
from dfkd_lab.runs.folder import RunFolder, identity
from dfkd_lab.spec import RunSpec, settings_of
from dfkd_lab.system.files import set_aside, sha256_of, write_atomically

CHECKPOINT, PREVIOUS, DAMAGED = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.damaged.pt"
RECORDS = {"manifest.json": contents.WITHOUT_MANIFEST, "seal.json": contents.WITHOUT_SEAL}
"""What the next session adds to, and what to do where one of them is damaged."""
MOST_ROUNDS: int = settings_of(RunSpec)["rounds"].metadata["high"]
HEARTBEAT_S = 10.0
"""How old the status of a run gets that is at work."""


class Recorder:
    """Writes events, status, manifest, seal and checkpoints of a run, and reads back what the next session needs.

    Args:
        folder: Of the run; held by this session alone.
        spec: Of the run.
    """

    def __init__(self, folder: RunFolder, spec: RunSpec):
        self.folder, self.path, self.spec = folder, folder.path, spec
        self.digests = Digests(self.path)
        self.checkpoint_round = 0
        self._events, self._bytes = hashlib.sha256(), 0
        self._accuracies: list[float] = []
        self._last: Report | None = None
        self._status: dict[str, Any] = {}
        self._beaten = 0.0

    @property
    def saved(self) -> str:
        """The round that a checkpoint is of, in words."""
        return f"round {self.checkpoint_round}" if self.checkpoint_round else "nothing"

    def load(self) -> tuple[dict[str, Any] | None, str]:
        """The newest state that is as it was saved, on the CPU, and a sentence if another one is not.

        Raises:
            RunError: if there is none, though something was saved; or if what belongs to it was changed since.
        """
        current, previous = self.path / CHECKPOINT, self.path / PREVIOUS
        killed_between = current.with_name(f"{CHECKPOINT}.tmp").exists() and previous.exists()
        if not current.exists() and not killed_between:
            return None, ""
        reasons: list[str] = []
        for file in (current, previous):
            try:
                state, facts = _read(self.digests, file)
            except (DamagedFile, FileNotFoundError) as error:
                reasons.append(str(error) if isinstance(error, DamagedFile) else "")
                continue
            self._check_rest(facts, state["round"])
            self.checkpoint_round = state["round"]
            return state, self._restored(reasons[0]) if file == previous else ""
        raise RunError(f"{current} cannot be read ({reasons[0]}); remove it to begin again")

    def begin(self, round: int) -> list[Report]:
        """Forget what was logged after ``round``, and give the reports up to it."""
        events = self.path / "events.jsonl"
        lines = events.read_bytes().splitlines(keepends=True)[:round] if events.exists() else []
        kept = b"".join(lines)
        write_atomically(events, kept)
        self._events, self._bytes = hashlib.sha256(kept), len(kept)
        reports = self.folder.reports()
        self._accuracies = [each.accuracy for each in reports if each.accuracy is not None]
        self._last = reports[-1] if reports else None
        for number, file in self.folder.samples().items():
            if number > round:
                file.unlink()
                file.with_suffix(".json").unlink(missing_ok=True)
                loss_history.file_of(file).unlink(missing_ok=True)
        return reports

    def log(self, report: Report) -> None:
        """Add a round to the log."""
        line = (json.dumps(report.event()) + "\n").encode()
        with (self.path / "events.jsonl").open("ab") as events:
            events.write(line)
        self._events.update(line)
        self._bytes += len(line)
        self._last = report
        if report.accuracy is not None:
            self._accuracies.append(report.accuracy)

    def status(self, state: str, round: int, message: str = "") -> None:
        """Say how the run stands, with the result so far, so that a list of many runs need not read their logs."""
        kept = {"events_bytes": self._bytes, "result": standing.result_of(self._last, self._accuracies)}
        self._status = {**standing.written(state, round, self.spec.rounds, message), **kept}
        self.beat(0.0)

    def beat(self, every: float = HEARTBEAT_S) -> None:
        """Say it again if that is ``every`` seconds ago: whoever cannot see the process sees that it is at work."""
        now = time.monotonic()
        if self._status and now - self._beaten >= every:
            self._beaten = now
            status = {**self._status, "time": time.time()}
            write_atomically(self.path / "status.json", json.dumps(status).encode())

    def manifest(self, values: dict[str, Any]) -> None:
        """Write the provenance."""
        self.digests.write("manifest.json", json.dumps(values, indent=1).encode())

    def seal(self, values: dict[str, Any]) -> None:
        """Write what the distillation read."""
        self.digests.write("seal.json", json.dumps(values, indent=1).encode())

    def saver(self) -> partial[None]:
        """What writes a state of now: with it is kept what the log holds now, and which run this is."""
        events = {"bytes": self._bytes, "sha256": self._events.hexdigest()}
        return partial(self._save, {"events": events, "spec": _meaning(self.spec)})

    def finished(self) -> None:
        """Keep one generation: nothing goes on from here."""
        (self.path / PREVIOUS).unlink(missing_ok=True)

    def _save(self, facts: dict[str, Any], state: dict[str, Any]) -> None:
        keep = partial(set_aside, self.path / CHECKPOINT, self.path / PREVIOUS)
        self.digests.write(CHECKPOINT, partial(torch.save, state), {"round": state["round"], **facts}, keep)
        self.checkpoint_round = state["round"]

    def _check_rest(self, facts: dict[str, Any], round: int) -> None:
        """Refuse a log or a spec that is not the one that the checkpoint was saved with."""
        for name, cure in RECORDS.items():
            self.digests.check(name, cure)
        again = f"put it back, or remove {self.path / CHECKPOINT} to begin again"
        events = self.path / "events.jsonl"
        if (log := facts.get("events")) and (not events.exists() or sha256_of(events, log["bytes"]) != log["sha256"]):
            self.folder.reports()  # which names the line, if it can be told
            raise DamagedFile(f"{events} is damaged (its first {round} lines are not what was written); {again}")
        now, then = _meaning(self.spec), facts.get("spec", {})
        changed = [f"{name}: {then[name]!r} -> {now[name]!r}" for name in now if now[name] != then.get(name, now[name])]
        if changed:
            what = f"it was changed after round {round} was saved ({'; '.join(changed)}), which is another run"
            raise RunError(f"{self.path / 'spec.yaml'}: {what}; {again}, or take another folder (out)")

    def _restored(self, reason: str) -> str:
        """Take the checkpoint before for the newest; the damaged one is kept beside it, if it is there."""
        current = self.path / CHECKPOINT
        self.digests.forget(CHECKPOINT)
        with contextlib.suppress(FileNotFoundError):
            current.replace(self.path / DAMAGED)
        shutil.copyfile(self.path / PREVIOUS, current)
        if not reason:
            return ""
        went = f"going on from round {self.checkpoint_round}, which {PREVIOUS} has"
        return f"{current} cannot be read ({reason}; it is {DAMAGED} now); {went}"


def saved_state(folder: RunFolder) -> dict[str, Any] | None:
    """What a run saved last, on the CPU; None if there is no such file. Nothing in the folder is changed.

    Raises:
        DamagedFile: if it is not as it was saved.
    """
    file, digests = folder.path / CHECKPOINT, Digests(folder.path)
    try:
        return _read(digests, file)[0]
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        if not digests.are_current():  # the run is on, and has saved twice since they were read
            return saved_state(folder)
        raise DamagedFile(f"{file} is damaged ({error}); put it back from a copy, or remove it") from None


def _read(digests: Digests, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint, and the facts beside its digest."""
    if file.exists() and not file.is_file():
        raise DamagedFile("it is no file")  # a pipe would be waited for
    facts = digests.find(CHECKPOINT, file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        if type(state["round"]) is not int or not 0 <= state["round"] <= MOST_ROUNDS:
            raise TypeError("it has no round that can be")
    except FileNotFoundError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise DamagedFile(reason) from None
    return state, facts or {}


def _meaning(spec: RunSpec) -> dict[str, Any]:
    """What a run computes, by setting; where its files are is not part of that, and what they hold is checked apart."""
    values = identity(spec)
    settings = values.pop("settings")
    del values["teacher"]
    return {**values, **settings, "student": python_file.short(spec.student)}
