"""Writing an export: everything that can be refused first, then file by file, each proven before it takes its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfkd_lab import __version__
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.export import image_files, model_card, parity
from dfkd_lab.export.destination import CARD, IMAGES, Destination, usual
from dfkd_lab.export.formats import EXTRA, FORMATS, NEED_IMAGES, File, Files, chosen
from dfkd_lab.export.parity import Inputs
from dfkd_lab.export.source import Source
from dfkd_lab.export.student import WEIGHTS
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder
from dfkd_lab.runs.synthetic import Labelled
from dfkd_lab.spec import build, setting
from dfkd_lab.system.device import provenance
from dfkd_lab.system.environment import version_of
from dfkd_lab.system.faults import article, reason
from dfkd_lab.system.text import printable


@dataclass(frozen=True)
class ExportSpec:
    """The student of a run, that of its checkpoint if it was stopped, as files that work without this library."""

    to: str = setting("safetensors,onnx", f"formats, with commas: {', '.join(FORMATS)}")
    out: str = setting("", "folder to write to; empty is export/ in the run folder, or export-round<R>/ before its end")
    accept: bool = setting(False, "keep an int8 file that gives the student's class in less than 99 %")
    teacher_license: str = setting("", "license of the teacher, as you state it, for the model card")


@dataclass(frozen=True)
class Exported:
    """Where an export is, and its files: by name, what parity.json has of each."""

    path: Path
    files: dict[str, dict[str, Any]]


def write(
    run: RunFolder | Path | str,
    to: str | Iterable[str] = "safetensors,onnx",
    out: Path | str = "",
    *,
    accept: bool = False,
    teacher_license: str = "",
    trust_code: str = "",
    say: Callable[[str], object] = lambda sentence: None,
) -> Exported:
    """Write the student of a run, with a model card and the proof that each file gives what the student gives.

    Args:
        run: Its folder; of one that was stopped or has failed, the student of the last checkpoint is taken.
        to: Of ``FORMATS``, with commas or as a list.
        out: A folder that is new, empty, or an earlier export of this student; "" is export/ in the run folder, or
            export-round<R>/ for the student of a round that is not the last.
        accept: Keep an int8 file that gives the student's class in less than 99 % of the inputs.
        teacher_license: As you state it.
        trust_code: Which text of the run's own Python files may be executed, "unchanged", "kept" or "changed".
        say: Called with a sentence for each file.

    Raises:
        SpecError: if a format is unknown, packages are missing, ``out`` holds something else, or the network cannot be
            exported, naming the operator; nothing is written then.
        RunError: if the run is on, has saved no student or is damaged, or has no synthetic images where they are
            needed; or if a file does not give what the student gives: it is removed, the others stay.
    """
    request = _request(to, out, accept, teacher_license)
    names = chosen(request.to)
    folder = _named(run, trust_code)
    source = Source.of(folder, next((name for name in names if name in NEED_IMAGES), ""), trust_code)
    path = _place(request.out, folder) if request.out else usual(folder.path, source.round * bool(source.unfinished))
    destination = None
    try:
        destination = Destination(path, source.student.sha256, say)
        say(f"{_which(source)}: making {', '.join(names)}")
        return _Job(source, request, destination, Files.of(source, names)).write("images" in names, say)
    except OSError as error:
        raise RunError(f"cannot write {error.filename or path}: {error.strerror}{_stays(destination)}") from None


def _which(source: Source) -> str:
    """The student that is exported, and of a run that has not finished which one of its students that is."""
    run = source.folder
    state = f", the student {source.unfinished}, as {run.path} is {run.status()['state']}" if source.unfinished else ""
    return f"{source.net}, {source.student.sha256[:12]}{state}"


def _stays(destination: Destination | None) -> str:
    rows = destination.rows if destination else {}
    return f"; {', '.join(rows)} {'stays' if len(rows) == 1 else 'stay'}" if rows else ""


def _named(run: RunFolder | Path | str, trust_code: str) -> RunFolder:
    """The folder under its name, which "." has too."""
    _refuse_types("run", [run], (str, Path, RunFolder))
    _refuse_types("trust_code", [trust_code], (str,))
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    return folder if folder.name.strip(".") else RunFolder(folder.path.resolve())


def _request(to: str | Iterable[str], out: Path | str, accept: bool, teacher_license: str) -> ExportSpec:
    _refuse_types("teacher_license", [teacher_license], (str,))
    if teacher_license and not (teacher_license.isprintable() and teacher_license.strip()):
        raise SpecError(f"teacher_license = {printable(repr(teacher_license))}; allowed: text of one line")
    names = [to] if isinstance(to, (str, bytes)) or not isinstance(to, Iterable) else [*to]
    _refuse_types("to", names, (str,))
    _refuse_types("out", [out], (str, Path))
    return build(ExportSpec, {"to": ",".join(names), "out": str(out) if out else "", "accept": accept,
                              "teacher_license": teacher_license})  # fmt: skip


def _refuse_types(name: str, values: Iterable[Any], allowed: tuple[type, ...]) -> None:
    for value in values:
        if not isinstance(value, allowed):
            kinds = " or ".join(each.__name__ for each in allowed)
            raise SpecError(f"{name} = {value!r} is {article(value)}; allowed: {kinds}")


def _place(out: str, run: RunFolder) -> Path:
    """The folder that ``out`` names.

    Raises:
        SpecError: if it names none, or one inside another run.
    """
    path = Path(os.path.expanduser(out))  # noqa: PTH111 - raises for no unknown user
    unknown_user = out.startswith("~") and str(path).startswith("~")
    if not out.strip() or not out.isprintable() or unknown_user:
        raise SpecError(f"out = {out!r} is no folder; allowed: a path of one, or nothing for export/ in the run folder")
    outer = next((each for each in path.resolve().parents if RunFolder(each).exists()), None)
    if outer and outer.resolve() != run.path.resolve():
        raise SpecError(f"out = {out!r} is inside the run folder {outer}; allowed: a folder outside of other runs")
    return path


class _Job:
    """Writes what was made; nothing here is refused but a file that fails."""

    def __init__(self, source: Source, request: ExportSpec, destination: Destination, files: Files):
        self.source, self.request, self.destination, self.files = source, request, destination, files
        self.inputs: Inputs = parity.inputs(source.synthetic, source.card.shape, source.spec.seed)
        self.made_with = {  # with every file, for another export may have written the one beside it
            "inputs": self.inputs.origin,
            "weights_compared_with": source.checked,
            "packages": {name: version_of(name) for name in EXTRA},
            **provenance(torch.device("cpu")),
        }

    def write(self, images: bool, say: Callable[[str], object]) -> Exported:
        """Write and prove one file after the other; what failed is told when all are done."""
        destination = self.destination
        labelled = self.source.labelled() if images else None
        with destination.open(lambda: self._config(self._license())):
            problems = self._compared(say)
            if labelled is not None:
                self._put_images(labelled, say)
            net = self.source.card.net
            if code := python_file.trusted(net) if python_file.names_file(net) else None:
                destination.keep(code.path.name, code.text, "the Python file that the network is from")
            destination.describe(CARD, model_card.page(self.source, destination.rows, self._license()))
        if problems:
            raise RunError(f"{destination.path}: {'; '.join(problems)}")
        return Exported(destination.path, dict(destination.rows))

    def _license(self) -> str:
        """As it is stated now, or was to an earlier export."""
        return self.request.teacher_license or self.destination.teacher_license

    def _compared(self, say: Callable[[str], object]) -> list[str]:
        """Write what is held against the student; gives what failed, in words."""
        problems = []
        for file in self.files.files:
            row = self.destination.put(file.name, file.content, partial(self._prove, file))
            if row["passed"] or row["accepted"]:
                say(f"{self.destination.path / file.name}: {len(file.content):,} bytes, {model_card.compared(row)}")
            else:
                stays = "; the one that an earlier export proved stays" if file.name in self.destination.rows else ""
                problems.append(f"{file.name} {row['problem']}, and was removed{stays}")
        return problems

    def _put_images(self, labelled: Labelled, say: Callable[[str], object]) -> None:
        source = self.source
        contents = image_files.files(source.synthetic.images, labelled, source.class_names)
        self.destination.put_folder(
            IMAGES, contents, f"{source.synthetic.origin}, each with what the teacher says of it"
        )
        say(f"{self.destination.path / IMAGES}: {source.synthetic.origin}")

    def _prove(self, file: File, path: Path) -> dict[str, Any]:
        row = {"what": file.what, "accepted": False, "passed": False}
        try:
            found = self.files.compare(file, path, self.source, self.inputs.images)
        except Exception as error:  # a file that its own library cannot use has failed
            return {**row, "problem": f"cannot be used ({reason(error)})"}
        sizes = {"size_step": self.files.step} if file.name != WEIGHTS and self.files.step else {}
        problem = found.problem()
        accepted = bool(problem) and file.is_int8 and self.request.accept
        cure = "; to keep it all the same: --accept" if problem and file.is_int8 and not accepted else ""
        return {**row, **sizes, **found.record(), "accepted": accepted, "problem": f"{problem}{cure}", **self.made_with}

    def _config(self, teacher_license: str) -> dict[str, Any]:
        card, spec = self.source.card, self.source.spec
        return {
            "architecture": self.source.net,
            "task": card.task,
            "num_classes": card.classes,
            "id2label": {str(number): name for number, name in enumerate(self.source.class_names)},
            "image": {"shape": list(card.shape), "range": [0, 1], "mean": list(card.mean), "std": list(card.std)},
            "dfkd_lab": {
                "version": __version__,
                "student_sha256": self.source.student.sha256,
                "run": self.source.folder.name,
                "method": spec.method,
                **({"round": self.source.round, "rounds": spec.rounds} if self.source.unfinished else {}),
                **({"teacher_license": teacher_license} if teacher_license else {}),
            },
        }
