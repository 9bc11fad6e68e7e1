"""The commands about runs: demo, run, resume, list, compare."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfkd_lab import methods, teachers
from dfkd_lab.cli import notebook
from dfkd_lab.cli.flags import first_interrupt, parse, read, refuse_twice, show_help
from dfkd_lab.cli.outcome import conclude
from dfkd_lab.cli.progress import Progress
from dfkd_lab.cli.tables import plain_table
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import (
    ResolvedRun,
    RunFolder,
    Session,
    contents,
    list_runs,
    own_code,
    plan,
    remark,
    resolve,
    runs_root,
    timing,
)
from dfkd_lab.runs.differences import difference
from dfkd_lab.runs.folder import LESSONS
from dfkd_lab.runs.session import COMPILING
from dfkd_lab.spec import RunSpec, record, setting, unknown
from dfkd_lab.system.signals import CALL_AGAIN
from dfkd_lab.system.text import printable

TRUST = "--trust-code"
ALL = "--all"
FINISHED_BEFORE = "it has finished before: another --seed or --out begins anew, and more --rounds need another --out"


@dataclasses.dataclass(frozen=True)
class Demo:
    """SSD-KD with a buffer of 1,000 images, on scikit-learn's digits or on scenes of them; needs no other file."""

    data: str = setting("digits", "scenes have a class for every pixel", choices=("digits", "scenes"))
    seed: int = setting(0, "seed of all random numbers of the run", low=0, high=2**31 - 1)
    out: str = setting("", "run folder; empty is runs/demo-seed<seed>, or runs/demo-scenes-seed<seed>")


def demo(arguments: list[str]) -> None:
    """The main job, through papermill: run folder, executed notebook, report."""
    if not {"-h", "--help"}.isdisjoint(arguments):
        show_help(Demo, "demo")
    request = read(Demo, arguments, "demo")
    pair = {"teacher": request.data, "student": teachers.BUILT_IN[request.data].student, "data": request.data}
    out = request.out or f"runs/demo-{'scenes-' if request.data == 'scenes' else ''}seed{request.seed}"
    folder = notebook.execute("10_run", {"method": "ssd_kd", "seed": str(request.seed), "out": out, **pair})
    assert folder is not None
    print(f"report {folder.path / 'report.html'}")
    conclude(folder)


def run(arguments: list[str]) -> None:
    """One run of one method, settings as flags."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("run METHOD [--setting value], as in: run ssd_kd --capacity 500; run METHOD --help lists its settings")
        print("\nmethods: " + ", ".join(methods.METHODS))
        return
    if arguments[0].startswith("-"):
        raise SpecError(f"run takes a method before its settings, not {arguments[0]}, as in: run ssd_kd --capacity 500")
    execute(plan(method=arguments[0], **parse(arguments[0], arguments[1:])))


def resume(arguments: list[str]) -> None:
    """Continue a run folder; ``--trust-code [unchanged | kept | changed]`` has its own Python files executed."""
    words, trust_code = trusted_text(arguments)
    if len(words) != 1:
        raise SpecError("resume takes one run folder, as in: resume runs/ssd_kd-digits-convnet_8-seed0")
    folder = folder_named(words[0])
    for sentence in folder.passed_over():
        print(printable(sentence), file=sys.stderr)
    execute(resolve(folder.spec(), trust_code), trust_code)


def trusted_text(arguments: list[str]) -> tuple[list[str], str]:
    """The words before or behind the flag, and which text of a run's own code it trusts; "" without the flag.

    Raises:
        SpecError: if the flag is there twice.
    """
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith(TRUST + "=") else [word])]
    if TRUST not in words:
        return words, ""
    refuse_twice(word for word in words if word == TRUST)
    at = words.index(TRUST)
    before, after = words[:at], words[at + 1 :]
    if after and not after[0].startswith("-") and (after[0] in own_code.TEXTS or before):
        return [*before, *after[1:]], after[0]
    return [*before, *after], "unchanged"


def execute(resolved: ResolvedRun, trust_code: str = "") -> None:
    """Run it with a progress bar. The first interrupt ends it after its round, the second at once."""
    folder = RunFolder.of(resolved.spec)
    own_code.refuse_other_run(folder, resolved.spec, resolved.code, trust_code)  # before it is said to start
    print(printable(f"{folder.path}: starting"), file=sys.stderr)
    session = Session(resolved, trust_code)
    done = session.folder.status()["state"] == "finished" and session.run.round >= session.spec.rounds
    about = (FINISHED_BEFORE,) if done else (*session.manifest["notes"], session.memory)
    for sentence in (*session.said, *about):
        print(printable(sentence), file=sys.stderr)
    if session.will_compile:
        print(COMPILING, file=sys.stderr)
    elif expected := timing.expected(session.run, session.teacher.card.shape):
        print(expected, file=sys.stderr)
    shown = Progress(session.folder, session.spec.rounds)
    try:
        with first_interrupt(session.stop, "stopping after this round; interrupt again to stop at once"), shown:
            for report in session:
                shown.show(report)
    except SystemExit:
        conclude(session.folder, CALL_AGAIN)
    except KeyboardInterrupt:
        print(printable(f"stopped at once; {session.folder.status()['message']}"), file=sys.stderr)
        raise
    else:
        conclude(session.folder)


def show(arguments: list[str]) -> None:
    """The run folders below runs/, newest first, with their tags and notes where there are any.

    Those of lessons, which are many, are only counted; ``--all`` lists them too.
    """
    refuse_twice(word for word in arguments if word == ALL)
    named = [word for word in arguments if word != ALL]
    if len(named) > 1 or not all(Path(name).is_dir() for name in named):
        raise SpecError(f"list takes one folder that holds run folders, not {' '.join(named)}")
    lessons = (Path(named[0]) if named else runs_root()) / LESSONS
    found = list_runs(*named)
    shown = [each for each in found if ALL in arguments or not each.path.is_relative_to(lessons)]
    if not found:
        print("no runs yet; begin with: python -m dfkd_lab demo")
    for sentence in filter(None, _print_results([(str(folder.path), folder) for folder in shown], RunFolder.result)):
        print(printable(sentence), file=sys.stderr)
    if aside := len(found) - len(shown):
        print(printable(f"and {aside} of lessons: {' '.join(['list', *named, ALL])}"), file=sys.stderr)


def compare(arguments: list[str]) -> None:
    """Results side by side, and the settings that differ."""
    if not arguments:
        raise SpecError("compare takes run folders, as in: compare runs/a runs/b")
    folders = [folder_named(name) for name in arguments]
    specs: dict[int, RunSpec] = {}

    def read(folder: RunFolder) -> dict[str, Any]:
        spec = folder.spec()
        specs[folders.index(folder)] = spec
        return folder.result()

    damaged = _print_results([(folder.name, folder) for folder in folders], read)
    (first, *others) = specs or [0]
    for number in others:
        changed = difference(*({**record(specs[each]), "out": ""} for each in (number, first)))
        both = f"{folders[first].name} -> {folders[number].name}: " + ("; ".join(changed) or "same settings")
        print(f"\n{printable(both)}")
    if any(damaged):
        raise RunError("; and ".join(filter(None, damaged)))


def _print_results(folders: list[tuple[str, RunFolder]], read: Callable[[RunFolder], dict[str, Any]]) -> list[str]:
    """The table of results; gives why a run cannot be read, whose row says "damaged", and "" for the others."""
    rows, remarks, damaged = [], [], []
    for name, folder in folders:
        try:
            result, text, reason = read(folder), remark(folder), ""
        except (RunError, SpecError) as error:
            result, text, reason = {"state": "damaged"}, "", str(error)
        try:
            label = contents.label(folder.path)
        except RunError as error:
            label, reason = {}, reason or str(error)
        said = {"tags": ", ".join(label.get("tags", ())) or None, "note": label.get("note") or None}
        rows.append({"run": name, **_headline(result), **said})
        remarks += [printable(f"{folder.name} {text}")] if text else []
        damaged.append(reason)
    silent = {name for name in ("tags", "note") if not any(row[name] for row in rows)}
    shown = [{name: row[name] for name in row if name not in silent} for row in rows]
    print("\n".join(filter(None, (plain_table(shown), *remarks))))
    return damaged


def folder_named(name: str) -> RunFolder:
    """The run folder of this name, here or below runs/.

    Raises:
        SpecError: with the nearest one there is.
    """
    for path in (Path(name), runs_root() / name):
        if RunFolder(path).exists():
            return RunFolder(path)
    known = [str(folder.path) for folder in list_runs()]
    called = [str(Path(each).relative_to(runs_root())) for each in known]  # as they may be typed too
    near = difflib.get_close_matches(name, [*known, *called], n=1) or known[:5]
    raise SpecError(
        unknown(name, near, "run folder") + (f", and {len(known) - 5} more" if len(known) > len(near) == 5 else "")
    )


def _headline(result: dict[str, Any]) -> dict[str, Any]:
    names = ("state", "rounds", "last", "mu", "sigma", "oracle_best", "teacher", "agreement", "seconds", "images")
    shown = {name: result.get(name) for name in (*names, "teacher_queries")}
    return {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in shown.items()}
