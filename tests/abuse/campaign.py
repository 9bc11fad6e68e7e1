"""The cases of a campaign, and what came of each."""

import contextlib
import dataclasses
import io
import json
import os
import random
import resource
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dfkd_lab import METHODS, RunFolder, Session, data, export, load_student, methods, plan, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import examination, examine
from tests.abuse import mutations
from tests.support import tiny
from widgets import report
from widgets.compare.groups import Run
from widgets.history import History
from widgets.sample_grid import read as read_samples

LONGEST_S = 5.0
"""That anything may take to be read or refused."""
STRUCTURED: dict[str, Callable[[bytes, random.Random, Path], bytes]] = {
    ".json": mutations.of_json,
    ".jsonl": mutations.of_lines,
    ".yaml": mutations.of_yaml,
    ".pth": mutations.of_weights,
}
READ_AGAIN = ("spec.yaml", "manifest.json", "events.jsonl", "status.json", "digests.json", "seal.json", "checkpoint.pt")
SHOWN = (
    *("samples/round_0000001.json", "samples/round_0000001.png", "control", "log.txt"),
    "examination.safetensors",
)
TEACHERS = ("teacher.pth", "teacher.safetensors", "images/one/0.png", "images/two/1.jpg")
EXPORTED = ("export/config.json", "export/parity.json", "export/README.md", "export/model.safetensors")
READ_BY_EXPORT = ("spec.yaml", "manifest.json", "events.jsonl", "status.json", "seal.json", "checkpoint.pt")
RUN = {"method": "dafl", **{"cycles": 1, "batch": 16, "data": "none", "rounds": 3, "checkpoint_s": 0.0}}


class TooLong(BaseException):
    """Past every handler of what is tried."""


@dataclasses.dataclass
class Outcome:
    """Of one case: in a word, and for a person who wants to see it again."""

    kind: str
    number: int
    what: str
    result: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether that must not be."""
        return self.result in (
            "traceback",
            "hang",
            "executed",
            "another student",
            "no sentence",
            "untrue status",
            "lost",
        )


class Campaign:
    """Cases below ``place``, an empty folder; equal seeds give equal cases."""

    def __init__(self, place: Path, seed: int):
        self.place, self.seed = place.resolve(), seed
        self.mark = self.place / "executed"
        self.students: dict[str, bytes] = {}
        self.seconds: dict[str, float] = {}
        self.begun, self.files = self.place / "begun", self.place / "files"
        part = iter(session := Session(plan(**RUN, out=str(self.begun))))
        next(part), next(part)
        session.stop()
        list(part)
        (self.begun / "log.txt").write_text("a line\nanother\n")
        (self.begun / "control").write_text("pause")
        examine(RunFolder(self.begun))
        self.undisturbed = self.whole("begun", RUN)
        self._make_files()

    def mutation(self, number: int) -> Outcome:
        """A file changed at random, and everything that reads it."""
        chance = random.Random(f"{self.seed} mutation {number}")
        name = chance.choice((*READ_AGAIN, *SHOWN, *TEACHERS))
        source = self.files if name in TEACHERS else self.begun
        folder = self.place / "tried"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        self._change(folder / name, chance)
        return self._tried("mutation", number, name, self._readers(name, folder, chance))

    def _change(self, file: Path, chance: random.Random) -> None:
        structured = STRUCTURED.get(file.suffix)
        content = file.read_bytes()
        if structured and chance.randrange(3):
            file.write_bytes(structured(content, chance, self.mark))
        else:
            file.write_bytes(mutations.of_bytes(content, chance))

    def export(self, number: int) -> Outcome:
        """A file of a finished run or of its export changed at random, and the student taken out once more."""
        chance = random.Random(f"{self.seed} export {number}")
        name = chance.choice((*EXPORTED, *READ_BY_EXPORT, "student.safetensors"))
        self._export()
        folder = self.place / "tried"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place / "whole" / "begun", folder)
        (folder / "digests.json").unlink()  # which knows most changes; somebody who wants to fool us removes it
        self._change(folder / name, chance)
        out = folder / "export"
        return self._tried(
            "export",
            number,
            name,
            {
                "load_student": lambda: self._same(load_student(out)),
                "export": lambda: self._same(load_student(export.write(folder, "safetensors,images").path)),
            },
        )

    def _export(self) -> None:
        """The export of the run that nobody disturbs."""
        if not (self.place / "whole" / "begun" / "export").exists():
            export.write(self.place / "whole" / "begun", "safetensors,images")

    def _same(self, student: torch.nn.Module) -> None:
        images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        wanted = load_student(self.place / "whole" / "begun")(images)
        if not torch.equal(student(images), wanted):
            raise AnotherStudentError

    def limit(self, number: int) -> Outcome:
        """Files that cannot grow beyond some size while a run is written, as on a full disk; and its resumption."""
        chance = random.Random(f"{self.seed} limit {number}")
        if not chance.randrange(8):
            return self._limited_view(number, int(2 ** chance.uniform(0, 20)), chance)
        method = chance.choice([*METHODS])
        settings = self._settings(method)
        whole = self.whole(method, settings)
        largest = max(file.stat().st_size for file in (self.place / "whole" / method).rglob("*") if file.is_file())
        most = int(2 ** chance.uniform(0, 1.02 * torch.tensor(float(largest)).log2().item()))
        folder = self.place / "limited"
        shutil.rmtree(folder, ignore_errors=True)
        said = self._in_a_child(lambda: command(settings, folder), file_bytes=most)
        return self._judged("limit", number, f"{method}, {most:,} bytes", folder, settings, said, whole)

    def _limited_view(self, number: int, most: int, chance: random.Random) -> Outcome:
        """As :meth:`limit`, where a report or a teacher is written: refused in a sentence, and whole the next time."""
        folder, teacher = self.place / "limited", self.place / "limited" / "teacher.safetensors"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.begun, folder)
        words = ["train-teacher", "convnet_8", "--data", "digits", "--epochs", "1", "--out", str(teacher)]
        doors: dict[str, tuple[Callable[[], object], Path]] = {
            "report": (lambda: report.write(RunFolder(folder)), folder / "report.html"),
            "train-teacher": (lambda: main(words), teacher),
        }
        name = chance.choice([*doors])
        write, file = doors[name]
        said = self._in_a_child(lambda: int(write() == 2), file_bytes=most)
        what = f"{name}, {most:,} bytes"
        if "Traceback" in said:
            return Outcome("limit", number, what, "traceback", said)
        result, detail = attempt(write, 60.0)
        if result != "read" or not file.exists():
            return Outcome("limit", number, what, "lost" if result in ("read", "refused") else result, detail)
        return Outcome("limit", number, what, "written the next time")

    def kill(self, number: int) -> Outcome:
        """A process that is killed at some time in its run, and its resumption after."""
        chance = random.Random(f"{self.seed} kill {number}")
        method, asked = chance.choice([*METHODS]), chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
        settings = self._settings(method)
        whole, folder = self.whole(method, settings), self.place / "killed"
        after = chance.uniform(0, self.seconds[method])
        shutil.rmtree(folder, ignore_errors=True)
        said = self._in_a_child(lambda: command(settings, folder), end=(after, asked))
        return self._judged(
            "kill", number, f"{method}, {asked.name} after {after:.2f} s", folder, settings, said, whole
        )

    def whole(self, name: str, settings: dict[str, Any]) -> bytes:
        """The student of the run that nobody disturbs; runs of other settings have other names."""
        if name not in self.students:
            out = self.place / "whole" / name
            start = time.monotonic()
            list(Session(plan(**settings, out=str(out))))
            self.seconds[name] = time.monotonic() - start
            self.students[name] = (out / "student.safetensors").read_bytes()
        return self.students[name]

    def _settings(self, method: str) -> dict[str, Any]:
        real = methods.remark(METHODS[method])
        sizes = {"rounds": 3, "checkpoint_s": 0.0, "preset": "digits", "data": "digits" if real else "none"}
        return {"method": method, **tiny(method), **sizes}

    def _make_files(self) -> None:
        self.files.mkdir()
        teacher = teachers.load("digits")
        torch.save(teacher.model.net.state_dict(), self.files / "teacher.pth")
        teachers.save(teacher.model, teacher.card, self.files / "teacher.safetensors")
        for number, name in enumerate(("one/0.png", "one/2.png", "two/1.jpg", "two/3.png")):
            file = self.files / "images" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 40 * number).save(file)

    def _readers(self, name: str, folder: Path, chance: random.Random) -> dict[str, Callable[[], object]]:
        """What reads that file; of what reads a run folder three, and last what computes, on what they left."""
        if name in TEACHERS:
            return {name: lambda: read_images(folder) if name.startswith("images") else read_teacher(folder / name)}
        views: dict[str, Callable[[], object]] = {
            "list": lambda: command_is(0, ["list", str(self.place)]),
            "compare": lambda: command_is(None, ["compare", str(folder), str(self.begun)]),
            "history": lambda: History(RunFolder(folder)).read(),
            "samples": lambda: [read_samples(each) for each in RunFolder(folder).samples().values()],
            "comparison": lambda: Run.read(RunFolder(folder)),
            "examination": lambda: examination.read(folder),
            "examine": lambda: examine(RunFolder(folder)),
        }
        tries = {each: views[each] for each in chance.sample([*views], 3)}
        if not chance.randrange(8):  # half a second of drawing
            tries["report"] = lambda: report.page(RunFolder(folder))
        return {**tries, "resume": lambda: self._resume(folder)}

    def _resume(self, folder: Path) -> None:
        list(Session(dataclasses.replace(RunFolder(folder).spec(), out=str(folder))))
        if (folder / "student.safetensors").read_bytes() != self.undisturbed:
            raise AnotherStudentError

    def _tried(self, kind: str, number: int, what: str, tries: dict[str, Callable[[], object]]) -> Outcome:
        """The worst of what ``tries`` come to."""
        refused = []
        for name, each in tries.items():
            result, detail = attempt(each)
            if self.mark.exists():
                result, detail = "executed", ""
                self.mark.rmdir() if self.mark.is_dir() else self.mark.unlink()
            outcome = Outcome(kind, number, f"{what}: {name}", result, detail)
            if outcome.is_fault:
                return outcome
            refused += [name] if result == "refused" else []
        return Outcome(kind, number, what, "refused" if refused else "read", ", ".join(refused))

    def _judged(
        self, kind: str, number: int, what: str, folder: Path, settings: dict[str, Any], said: str, whole: bytes
    ) -> Outcome:
        """Whether the folder says what is, and the run goes on to the same student."""
        if "Traceback" in said:
            return Outcome(kind, number, what, "traceback", said)
        if folder.exists() and (state := RunFolder(folder).status()["state"]) in ("running", "paused"):
            return Outcome(kind, number, what, "untrue status", state)
        result, detail = attempt(lambda: list(Session(plan(**settings, out=str(folder)))), 60.0)
        if result != "read":
            return Outcome(kind, number, what, "lost" if result == "refused" else result, detail)
        same = (folder / "student.safetensors").read_bytes() == whole
        return Outcome(kind, number, what, "same student" if same else "another student")

    def _in_a_child(
        self, work: Callable[[], int], file_bytes: int = 0, end: tuple[float, signal.Signals] | None = None
    ) -> str:
        """What a child printed to stderr that does ``work``, under a limit of bytes a file, or until ``end``."""
        listen, speak = os.pipe()
        if (child := os.fork()) == 0:
            status = 70
            try:
                os.close(listen)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.dup2(speak, 2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                if file_bytes:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
                status = work()
            except SystemExit as error:
                status = int(error.code or 0)
            except (SpecError, RunError) as error:
                os.write(2, f"{error}\n".encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(speak)
        if end:
            time.sleep(end[0])
            os.kill(child, end[1])
        with os.fdopen(listen, errors="replace") as heard:
            said = heard.read()
        _, status = os.waitpid(child, 0)
        return f"{said}\nexit {os.waitstatus_to_exitcode(status)}"


class AnotherStudentError(AssertionError):
    """The run that was resumed gave another student."""


def attempt(action: Callable[[], object], seconds: float = LONGEST_S) -> tuple[str, str]:
    """What came of it in a word, and the sentence or the traceback."""
    printed = io.StringIO()
    try:
        with within(seconds), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            action()
    except (SpecError, RunError) as error:
        lines = [line for line in str(error).split("\n") if line.strip()]
        return ("refused", lines[0]) if len(lines) == 1 else ("no sentence", str(error))
    except TooLong:
        return "hang", "".join(traceback.format_exc()[-2000:])
    except AnotherStudentError:
        return "another student", ""
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "traceback", printed.getvalue()[-500:] + traceback.format_exc()[-2000:]
    return "read", ""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """No more of this process's time than that, and twenty times as long by the clock of a machine that is busy."""

    def ring(*_: object) -> None:
        raise TooLong

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, 20 * seconds))
    before = [signal.signal(number, ring) for _, number, _ in timers]
    for timer, _, most in timers:
        signal.setitimer(timer, most)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def command(settings: dict[str, Any], folder: Path) -> int:
    """The command line's run of these settings; its exit status."""
    flags = {name: str(value) for name, value in settings.items() if name != "method"}
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", value)]
    return main(["run", str(settings["method"]), *words, "--out", str(folder)])


def command_is(expected: int | None, words: list[str]) -> None:
    """A command line that ends with this status, or with one of 0 and 2."""
    status = main(words)
    assert status in ((0, 2) if expected is None else (expected,)), (words, status)


def read_teacher(file: Path) -> None:
    """Load a file of weights as a teacher for digits, and ask it."""
    teacher = teachers.load(str(file), data="digits")
    teacher.model.eval()(torch.zeros(2, *teacher.card.shape))


def read_images(folder: Path) -> None:
    """Read a folder of images as an evaluation set."""
    data.evaluation_set(f"folder:{folder / 'images'}", (1, 8, 8))


def figures(outcomes: list[Outcome]) -> dict[str, dict[str, int]]:
    """How many cases of each kind came to what."""
    kinds = dict.fromkeys(each.kind for each in outcomes)
    return {kind: dict(Counter(each.result for each in outcomes if each.kind == kind)) for kind in kinds}


def as_json(outcome: Outcome) -> str:
    """For a person who looks for the case again."""
    return json.dumps(dataclasses.asdict(outcome))
