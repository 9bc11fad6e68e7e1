"""The command by which a student leaves: export."""

from __future__ import annotations

from dfkd_lab import export
from dfkd_lab.cli.flags import read, show_help
from dfkd_lab.cli.runs import folder_named, trusted_text
from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable

CALLED = "export RUN [--to FORMATS], as in: export runs/demo-seed0 --to safetensors,onnx"


def write(arguments: list[str]) -> None:
    """``export RUN`` writes files; ``--trust-code`` is that of ``resume``, for a student from a Python file."""
    if not {"-h", "--help"}.isdisjoint(arguments):
        show_help(export.ExportSpec, "export RUN [--trust-code]")
    words, trust_code = trusted_text(arguments)
    if not words or words[0].startswith("-"):
        raise SpecError(f"export takes a run folder before its settings: {CALLED}")
    request = read(export.ExportSpec, words[1:], "export")
    exported = export.write(
        folder_named(words[0]),
        request.to,
        request.out,
        accept=request.accept,
        teacher_license=request.teacher_license,
        trust_code=trust_code,
        say=lambda sentence: print(printable(sentence), flush=True),
    )
    print(printable(f"export {exported.path}"))
