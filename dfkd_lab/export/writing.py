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
from dfkd_lab.errors import RunError
from dfkd_lab.export import image_files, model_card, parity
from dfkd_lab.export.destination import CARD, PARITY, Destination
from dfkd_lab.export.formats import EXTRA, FORMATS, NEED_IMAGES, File, Files, chosen
from dfkd_lab.export.parity import Inputs
from dfkd_lab.export.source import Source
from dfkd_lab.export.student import WEIGHTS
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder
from dfkd_lab.spec import build, setting
from dfkd_lab.system.device import provenance
from dfkd_lab.system.environment import installed
from dfkd_lab.system.faults import reason


@dataclass(frozen=True)
class ExportSpec:
    """The student of a finished run, as files that work without this library."""

    to: str = setting("safetensors,onnx", f"formats, with commas: {', '.join(FORMATS)}")
    out: str = setting("", "folder to write to; empty is export/ in the run folder")
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
    """Write the student of a finished run, with a model card and the proof that each file gives what the student gives.

    Args:
        run: Its folder.
        to: Of ``FORMATS``, with commas or as a list.
        out: A folder that is new, empty, or an earlier export of this student, whose other files stay; "" is export/ in
            the run folder.
        accept: Keep an int8 file that gives the student's class in less than 99 % of the inputs.
        teacher_license: As you state it.
        trust_code: Which text of the run's own Python files may be executed, "unchanged", "kept" or "changed".
        say: Called with a sentence for each file.

    Raises:
        SpecError: if a format is unknown, packages are missing, ``out`` holds something else, or the network cannot be
            exported, naming the operator; nothing is written then.
        RunError: if the run is not finished or damaged, or has no synthetic images where they are needed; or if a file
            does not give what the student gives: it is removed, the others stay.
    """
    values = {"to": to if isinstance(to, str) else ",".join(to), "out": os.fspath(out), "accept": accept}
    request = build(ExportSpec, {**values, "teacher_license": teacher_license})
    names = chosen(request.to)
    folder = _named(run if isinstance(run, RunFolder) else RunFolder(run))
    source = Source.of(folder, next((name for name in names if name in NEED_IMAGES), ""), trust_code)
    path = Path(request.out).expanduser() if request.out else folder.path / "export"
    destination = Destination(path, source.student.sha256)
    try:
        return _Job(source, request, destination, Files.of(source, names)).write("images" in names, say)
    except OSError as error:
        stays = f"; {', '.join(destination.rows)} stays" if destination.rows else ""
        raise RunError(f"cannot write {error.filename or path}: {error.strerror}{stays}") from None


def _named(folder: RunFolder) -> RunFolder:
    """The folder under its name, which "." has too."""
    return folder if folder.name.strip(".") else RunFolder(folder.path.resolve())


class _Job:
    """Writes what was made; nothing here is refused but a file that fails."""

    def __init__(self, source: Source, request: ExportSpec, destination: Destination, files: Files):
        self.source, self.request, self.destination, self.files = source, request, destination, files
        self.inputs: Inputs = parity.inputs(source.synthetic, source.card.shape, source.spec.seed)

    def write(self, images: bool, say: Callable[[str], object]) -> Exported:
        """Write and prove one file after the other; what failed is told when all are done."""
        source, destination = self.source, self.destination
        labelled = source.labelled() if images else None
        destination.open(self._config())
        problems = []
        for file in self.files.files:
            row = destination.put(file.name, file.content, partial(self._prove, file))
            if file.name in destination.rows:
                say(f"{destination.path / file.name}: {len(file.content):,} bytes, {model_card.compared(row)}")
            else:
                problems.append(f"{file.name} {row['problem']}, and was removed")
        if labelled is not None:
            contents = image_files.files(source.synthetic.images, labelled, source.class_names)
            what = f"{source.synthetic.origin}, each with what the teacher says of it"
            destination.put_folder("images", contents, what)
            say(f"{destination.path / 'images'}: {source.synthetic.origin}")
        if code := python_file.trusted(source.card.net) if python_file.names_file(source.card.net) else None:
            destination.keep(code.path.name, code.text, "the Python file that the network is from")
        self._describe()
        if problems:
            raise RunError(f"{destination.path}: {'; '.join(problems)}")
        return Exported(destination.path, dict(destination.rows))

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
        return {**row, **sizes, **found.record(), "accepted": accepted, "problem": f"{problem}{cure}"}

    def _config(self) -> dict[str, Any]:
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
            },
        }

    def _describe(self) -> None:
        """Write parity.json and the model card, of all that is there."""
        rows = self.destination.rows
        self.destination.write(
            PARITY,
            {
                "student_sha256": self.source.student.sha256,
                "weights_compared_with": self.source.checked,
                "inputs": self.inputs.origin,
                **provenance(torch.device("cpu")),
                "packages": {name: installed(name) for name in EXTRA},
                "files": rows,
            },
        )
        self.destination.write(CARD, model_card.page(self.source, rows, self.request.teacher_license))
