"""The run folder: the one truth about a run, written by a session, read by every view.

spec.yaml            the run as it was planned, every setting resolved
notes.json           what was decided for the networks' sake, in words; only if anything was
manifest.json        versions, commit, device, teacher and data with their hashes
events.jsonl         a line a round, flushed
status.json          running, paused, stopped, finished or failed; by which process; the result so far
samples/*.png        synthetic images by class; *.json beside it what the teacher says of each
samples/*.losses.npy  of a buffer that reads by priority, the student's last loss on each image that it stores
checkpoint.pt        atomic; checkpoint.previous.pt is the one before, for when this one is damaged
student.safetensors  the last student; student.py and teacher.py the Python files of networks that are from one
seal.json            what the distillation read, how that was watched, and in which rounds; beside each checkpoint
digests.json         of what a run goes on from, the SHA-256 as it was written
examination.safetensors  what both networks say, class by class and image by image; only if somebody examined it
label.json           a person's note and tags
log.txt              what its process printed, if it was begun in one of its own; log.process.json which that is
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Protocol

import yaml

from dfkd_lab import methods
from dfkd_lab.engine.report import Report
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.methods import composition
from dfkd_lab.nets import python_file
from dfkd_lab.nets.python_file import Code
from dfkd_lab.runs import contents, older, standing
from dfkd_lab.runs.bookmark import Bookmark
from dfkd_lab.runs.differences import difference
from dfkd_lab.spec import RunSpec, build, record
from dfkd_lab.system.files import write_atomically

NOT_IDENTITY = ("out", "checkpoint_s", "evaluate_every", "buffer_on")
"""Settings that do not change what a run computes."""
REQUESTS = ("run", "pause", "stop", "terminate")
LONGEST_NAME = 200
"""Bytes of a folder's name; file systems take 255, and files beside it need some."""
BIN = ".bin"
"""Of the folder in which runs wait to be erased, or to be taken back."""


class Planned(Protocol):
    """Anything that has a spec, as what :func:`dfkd_lab.plan` gives."""

    spec: RunSpec
    notes: list[str]
    code: dict[str, Code]


class RunFolder:
    """Reads a run folder, live or finished, and passes requests (pause, stop) to the process that writes it."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.trusted_code = ""
        """For ``--trust-code``: which text of Python files was named when it was prepared, whatever it says now."""
        self._read = Bookmark()
        """How far the log was read last."""

    @classmethod
    def of(cls, spec: RunSpec) -> RunFolder:
        """The folder that a run of ``spec`` is written to.

        Raises:
            SpecError: if ``out`` is no name for one.
        """
        return cls(named_folder(spec.out) if spec.out else default_folder(spec))

    @property
    def out(self) -> str:
        """What the setting ``out`` says for a run to be written here."""
        return str(self.path if self.path.is_relative_to(runs_root()) else self.path.absolute())

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def exists(self) -> bool:
        """Whether a run was started here."""
        return os.path.isfile(self.path / "spec.yaml")  # noqa: PTH113 - also where nobody may look

    def spec(self) -> RunSpec:
        """The run as it was planned; its ``out`` is where the folder is now, for it may have been moved or copied.

        Raises:
            RunError: if this is no run folder, or a damaged one.
            SpecError: if a setting in it cannot be.
        """
        values = older.completed(self._spec_values(), self.manifest().get("student"))
        return contents.spoken_of(self.path, lambda: build(RunSpec, {**values, "out": self.out}))

    def passed_over(self) -> list[str]:
        """A sentence for each setting of an older version that its spec still has, and for what is done otherwise now.

        Raises:
            RunError: if this is no run folder.
        """
        return older.sentences(self._spec_values(), self.spec())

    def notes(self) -> list[str]:
        """What was decided for the networks' sake when the run was planned, in words."""
        return contents.notes(self.path)

    def manifest(self) -> dict[str, Any]:
        """Provenance; empty before the run has begun."""
        return contents.manifest(self.path)

    def seal(self) -> dict[str, Any]:
        """What the distillation read; empty before the first checkpoint."""
        return contents.seal(self.path)

    def reports(self, start: int = 0) -> list[Report]:
        """One report a round, from round ``start`` + 1 on. A line that is being written is left for later.

        Whoever asks again for what is new has only that read.

        Raises:
            DamagedFile: if a line is no report, or the log no file.
        """
        if (log := contents.log(self.path)) is None:
            return []
        with log:
            if start < self._read.count:
                self._read.forget()
            self._read.find(log)
            lines = self._read.new_lines(log)
            return [contents.report(self.path, number, line) for number, line in lines if number > start]

    def sample(self, round: int) -> Path:
        """Where the sample grid of a round is."""
        return self.path / "samples" / f"round_{round:07d}.png"

    def samples(self) -> dict[int, Path]:
        """Sample grids by round; a file of another name there is none."""
        files = {file.stem.removeprefix("round_"): file for file in sorted((self.path / "samples").glob("round_*.png"))}
        return {int(round): file for round, file in files.items() if re.fullmatch("[0-9]+", round) and file.is_file()}

    def status(self) -> dict[str, Any]:
        """state, round, rounds, pid, host, message.

        "stopped" if its process is gone, "stale" if it is another machine's and says nothing any more, "gone" if the
        folder is, "damaged" if the file is.
        """
        if not self.path.exists():
            return {"state": "gone", "round": 0, "message": f"{self.path} was moved, renamed or removed"}
        return standing.status(self.path)

    def request(self, request: str) -> None:
        """Ask the writing process to "pause", "run", "stop" (after this round) or "terminate" (as SIGTERM does)."""
        write_atomically(self.path / "control", request.encode())

    def take_request(self) -> str:
        """What was requested since the last look, "" for nothing; for the writing process alone."""
        taken = self.path / "control.taken"
        try:
            (self.path / "control").replace(taken)  # at once: a request made meanwhile stays for the next look
        except FileNotFoundError:
            return ""
        request = taken.read_text(errors="replace") if taken.is_file() else ""  # a pipe would be waited for
        taken.unlink()
        return request if request in REQUESTS else ""

    def result(self) -> dict[str, Any]:
        """Last, mu, sigma and oracle best accuracy over evaluated rounds, the teacher's, agreement, cost, state."""
        found = self.status()
        if (kept := standing.kept_result(self.path, found)) is None:
            reports = self.reports()
            kept = standing.result_of(reports[-1] if reports else None, (each.accuracy for each in reports))
        return {"state": found["state"], **kept, "teacher": self.manifest().get("teacher", {}).get("accuracy")}

    def _spec_values(self) -> dict[str, Any]:
        if (values := contents.spec(self.path)) is None:
            raise RunError(f"{self.path} is not a run folder (it has no spec.yaml)")
        return values


def summary(folder: RunFolder) -> str:
    """The one line a finished run prints."""
    result = folder.result()
    shown = {name: "none" if result.get(name) is None else f"{result[name]:.3f}" for name in ("last", "teacher")}
    note = f"({text}) " if (text := remark(folder)) else ""
    what = f"{result['metric']} " if "metric" in result else ""
    figures = f"student {what}{shown['last']} teacher {shown['teacher']} seconds {result['seconds']:.1f}"
    return f"{figures} {note}run {folder.path}"


def remark(folder: RunFolder) -> str:
    """What no result of this run is shown without; empty if its method is data-free."""
    return methods.remark(methods.METHODS.get(folder.manifest().get("method", {}).get("name")))


LESSONS = "lessons"
"""Below the root of all runs: the folder with those of lessons, which are many and nobody's own."""


def runs_root() -> Path:
    """Where runs are kept: runs/, beside the notebooks folder when a notebook asks from inside it."""
    return Path("../runs" if Path.cwd().name == "notebooks" else "runs")


def named_folder(out: str, root: Path | None = None) -> Path:
    """The run folder that the setting ``out`` names: below runs/, also where it says so itself, or an absolute path.

    Args:
        out: Not empty.
        root: Takes the place of :func:`runs_root`.

    Raises:
        SpecError: if it leaves runs/, is runs/ itself, is hidden, or is in the home of a user who is not there.
    """
    path, root = Path(os.path.expanduser(out)), root or runs_root()  # noqa: PTH111 - raises for no unknown user
    inside = next((path.relative_to(base) for base in (root, Path("runs")) if path.is_relative_to(base)), path)
    hidden = not path.is_absolute() and any(part.startswith((".", "~")) for part in inside.parts)
    if not inside.name.strip() or hidden or not out.isprintable() or len(inside.name.encode()) > LONGEST_NAME:
        raise SpecError(f"out = {out!r} is no run folder; allowed: a name below runs/, or an absolute path")
    found = path if path.is_absolute() else root / inside
    if outer := next((each for each in found.parents if RunFolder(each).exists()), None):
        raise SpecError(
            f"out = {out!r} is inside the run folder {outer}; allowed: a name below runs/, or an absolute path"
        )
    return found


def default_folder(spec: RunSpec) -> Path:
    """runs/<method>[+<slot>_<filling>]-<teacher>-<student>-seed<seed>."""
    teacher = Path(spec.teacher.rpartition("@")[2]).stem
    replaced = "".join(f"+{slot}_{value.partition(':')[0]}" for slot, value in composition.replaced(spec).items())
    replaced = replaced.replace(",", "_")  # names of runs are listed with commas
    student = python_file.short(spec.student).replace(".py:", "-").rpartition(":")[2]
    return runs_root() / f"{spec.method}{replaced}-{teacher}-{student}-seed{spec.seed}"


def is_same_run(folder: RunFolder, spec: RunSpec) -> bool:
    """Whether ``folder`` holds a run of ``spec``."""
    return identity(spec) == identity(folder.spec())


def identity(spec: RunSpec, *but: str) -> dict[str, Any]:
    """The settings that decide what a run computes, without those called ``but``, as of its seed."""
    return {name: value for name, value in record(spec).items() if name not in (*NOT_IDENTITY, *but)}


def refuse_other_spec(folder: RunFolder, spec: RunSpec) -> None:
    """Same folder, same spec, or nothing.

    Raises:
        RunError: showing what differs.
    """
    if folder.exists() and (changed := difference(identity(spec), identity(folder.spec()))):
        raise RunError(f"{folder.path} holds a run of another spec ({'; '.join(changed)}); give another folder (out)")


def prepare(run: RunSpec | Planned) -> RunFolder:
    """Write the spec of a planned run into its folder, so that another process can begin it with ``resume``.

    Raises:
        RunError: if the folder holds a run of another spec, or cannot be written.
    """
    spec = run if isinstance(run, RunSpec) else run.spec
    folder = RunFolder.of(spec)
    refuse_other_spec(folder, spec)
    notes, code = ([], {}) if isinstance(run, RunSpec) else (run.notes, run.code)
    if code:
        folder.trusted_code = python_file.DIGESTS + ",".join(sorted({each.sha256 for each in code.values()}))
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        texts = {"notes.json": json.dumps({"notes": notes}, indent=1)} if notes else {}
        for name, text in {**texts, "spec.yaml": yaml.safe_dump(record(spec), sort_keys=False)}.items():
            write_atomically(folder.path / name, text.encode(), shared=True)  # two sweeps may prepare it at once
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder.path}: {error.strerror}; give another (out)") from None
    return folder


def list_runs(root: Path | str | None = None) -> list[RunFolder]:
    """The run folders below ``root`` (or :func:`runs_root`), in folders of folders too but no bin, newest first."""
    found: list[Path] = []
    for path, folders, files in os.walk(root or runs_root()):
        is_run = "spec.yaml" in files
        found += [Path(path)] if is_run else []
        folders[:] = () if is_run else (each for each in folders if each != BIN)
    return [RunFolder(path) for path in sorted(found, key=_modified, reverse=True)]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # removed meanwhile
