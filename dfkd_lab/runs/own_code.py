"""The Python files that a run's networks are from: executed for whom, recorded, and their text kept in the run folder.

What a person names (:func:`typed`) is executed. What a run folder names is not (:func:`admitted`), unless the person
says which text of it may be: the folder may be somebody else's, and bit-exact resume needs the same code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from dfkd_lab import nets, teachers
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.nets.python_file import Code
from dfkd_lab.runs.folder import RunFolder, refuse_other_spec
from dfkd_lab.spec import RunSpec, no_choice
from dfkd_lab.system.files import write_atomically

TEXTS = ("unchanged", "kept", "changed")
"""Which text of a file a resumed run may execute: the file's if it is as it was when the run began, the copy in the run
folder, or the file's whatever it is now."""


def files_of(spec: RunSpec) -> dict[str, str]:
    """The networks, FILE.py:NAME, that are from a Python file: of the student, of the teacher, or none."""
    named = {"student": spec.student, "teacher": spec.teacher.rpartition("@")[0]}
    return {role: name for role, name in named.items() if python_file.names_file(name)}


def typed(spec: RunSpec) -> RunSpec:
    """``spec`` as a person gave it: the Python files it names are executed, and get their absolute paths.

    Raises:
        SpecError: if there is no such file, it cannot be imported, or has no such class or function.
    """
    if not files_of(spec):
        return spec
    student = spec.student
    if python_file.names_file(student):
        try:
            nets.trust(student)
        except SpecError as error:
            raise SpecError(f"student: {error}") from None
        student = python_file.absolute(student)
    return dataclasses.replace(spec, student=student, teacher=teachers.typed(spec.teacher))


def admitted(spec: RunSpec, trust_code: str = "", command: str = "resume") -> dict[str, Code]:
    """The code of the files that ``spec`` names, by role; executed here if a person trusts it.

    Args:
        spec: As a run folder has it.
        trust_code: One of ``TEXTS``; or "sha256:..." with the digests, with commas between, of the texts that may be;
            or "" for none but what a person had executed in this process already.
        command: What a person calls to allow it.

    Raises:
        SpecError: if a file cannot be imported, or ``trust_code`` is something else.
        RunError: if a file is not trusted, or its text is not the one that may be executed.
    """
    if trust_code and trust_code not in TEXTS and not trust_code.startswith(python_file.DIGESTS):
        raise SpecError(f"trust_code: {no_choice(trust_code, TEXTS)}")
    files = files_of(spec)
    if trust_code:
        texts = {role: _text(RunFolder.of(spec), role, name, trust_code, command) for role, name in files.items()}
        return {role: nets.trust(name, texts[role]) for role, name in files.items()}
    found = {role: code for role, name in files.items() if (code := python_file.trusted(name))}
    if len(found) < len(files):
        raise RunError(question(RunFolder.of(spec), spec, command))
    return found


def question(folder: RunFolder, spec: RunSpec, command: str = "resume") -> str:
    """Which files a run would execute, whether they are as they were when it began, and how a person allows it."""
    files = files_of(spec)
    shown = " and ".join(_described(folder, role, name) for role, name in files.items())
    ways = [_ways(folder, role, name, command) for role, name in files.items()]
    way = next(
        filter(None, ways), f'read it, then: {command} {folder.path} --trust-code (trust_code="unchanged" in Python)'
    )
    return f"{folder.path} names code that would run as you, and did not: {shown}; {way}"


def is_unchanged(folder: RunFolder, spec: RunSpec) -> bool:
    """Whether every file is there, and as it was when the run began."""
    return not any(_ways(folder, role, name) for role, name in files_of(spec).items())


def use(code: Mapping[str, Code]) -> None:
    """Have networks made by this code, which was executed before, again."""
    for each in code.values():
        python_file.TRUSTED[each.path] = each


def refuse_other_run(folder: RunFolder, spec: RunSpec, code: Mapping[str, Code], trust_code: str = "") -> None:
    """Same folder, same spec and the same code that it has computed with, or nothing.

    Raises:
        RunError: showing what differs, and where the text is that the run began with.
    """
    refuse_other_spec(folder, spec)
    if trust_code == "changed" or not (folder.path / "checkpoint.pt").exists():
        return
    for role, each in code.items():
        if (before := recorded(folder, role)) and before != each.sha256:
            other = f"the {role}'s {each.path} had sha256 {before} when {folder.path} began, and has {each.sha256} now"
            raise RunError(f"{other}; take another folder (out), or {_either(folder, role)}")


def recorded(folder: RunFolder, role: str) -> str:
    """The SHA-256 of the file that the run computes with; empty if it has not begun."""
    try:
        found = str(folder.manifest()["sessions"][-1]["code"][role]["sha256"])
    except (KeyError, IndexError, TypeError):
        return ""
    return found if re.fullmatch("[0-9a-f]{64}", found) else ""


def kept(folder: RunFolder, code: Mapping[str, Code]) -> dict[str, Any]:
    """Write the text of each file into the run folder; gives what the manifest says of a session's files.

    A text that another one takes over from stays beside it.
    """
    for role, each in code.items():
        path = folder.path / f"{role}.py"
        if path.exists() and (before := path.read_bytes()) != each.text:
            path.replace(path.with_name(f"{role}-{_sha256(before)[:12]}.py"))
        write_atomically(path, each.text)
    rows = {role: {"file": each.path.name, "sha256": each.sha256} for role, each in code.items()}
    return {"code": rows} if rows else {}


def _text(folder: RunFolder, role: str, name: str, trust_code: str, command: str) -> bytes:
    """The text of a file that may be executed."""
    before = recorded(folder, role)
    if trust_code == "kept":
        path = folder.path / f"{role}.py"
        if not path.is_file():
            raise RunError(f"{path} is not there, so no text of {python_file.short(name)} is kept")
        if _sha256(copy := path.read_bytes()) != before:
            raise RunError(f"{path} is not the text that the run began with (sha256 {before or 'not recorded'})")
        return copy
    text = _read(name)
    if trust_code.startswith(python_file.DIGESTS):
        if text is None or _sha256(text) not in trust_code.removeprefix(python_file.DIGESTS).split(","):
            raise RunError(f"{_described(folder, role, name)}; that is not the text that was named when it was planned")
        return text
    if text is None or (trust_code == "unchanged" and before and _sha256(text) != before):
        raise RunError(f"{_described(folder, role, name)}; {_ways(folder, role, name, command)}")
    return text


def _described(folder: RunFolder, role: str, name: str) -> str:
    """A file, and whether it is as it was when the run began."""
    before, text = recorded(folder, role), _read(name)
    if text is None:
        state = "is not there any more" if before else "is not there"
    elif before:
        state = "is unchanged since" if _sha256(text) == before else f"has changed since, to {_sha256(text)}"
    else:
        state = f"has sha256 {_sha256(text)}, and its run has not begun"
    began = f", which had sha256 {before} when the run began," if before else ""
    return f"the {role}'s {python_file.parse(name)[0]}{began} {state}"


def _ways(folder: RunFolder, role: str, name: str, command: str = "resume") -> str:
    """How a person allows a text of a file that is not as it was when the run began; empty if it is."""
    before, text = recorded(folder, role), _read(name)
    if not before or (text is not None and _sha256(text) == before):
        return "" if text is not None else "put it there, or take another folder (out)"
    return f"read it, then: {_either(folder, role, command, gone=text is None)}"


def _either(folder: RunFolder, role: str, command: str = "resume", *, gone: bool = False) -> str:
    other = "" if gone else ", or --trust-code changed (what the file has now: another run)"
    return f"{command} {folder.path} --trust-code kept (what it had, in {folder.path / role}.py){other}"


def _read(name: str) -> bytes | None:
    """The text of a file; None if it cannot be read."""
    try:
        return python_file.read(name)
    except SpecError:
        return None


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
