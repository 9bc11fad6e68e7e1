"""The command line: ``python -m dfkd_lab --help``."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from dfkd_lab import bench, catalogue, environment, methods, teacher_commands
from dfkd_lab.diagram import diagram
from dfkd_lab.environment import EnvironmentProblem
from dfkd_lab.flags import first_interrupt, parse
from dfkd_lab.runs import RunError, RunFolder, list_runs, plan, postfix, remark, summary
from dfkd_lab.session import Session
from dfkd_lab.spec import RunSpec, SpecError, difference, record, unknown
from dfkd_lab.tables import plain_table

USAGE = """dfkd_lab: data-free knowledge distillation

  demo [--seed N]               the main job: SSD-KD on scikit-learn's digits, with a report
  run METHOD [--setting value]  one run; run METHOD --help lists its settings
  resume RUN                    continue a run folder
  list                          the run folders below runs/
  compare RUN...                results side by side, and the settings that differ
  methods [--json | --table]    the methods, with citation, certainty and slots
  methods --diagram NAME [FILE] the slots of a method as a picture (SVG)
  teachers [FILE...] [--data D] the teachers at hand, or those given, measured now
  train-teacher NET --data SET  a teacher from real images, by one short recipe; the same command continues it
  bench [--json]                how fast the loop is here, and what its time goes into
  notebook NAME -p key value    a notebook, headless, its parameters checked first
  check                         is this installation usable?
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 if refused, 75 to be called again, 130 if stopped or interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    try:
        if arguments[0] not in COMMANDS:
            raise SpecError(unknown(arguments[0], COMMANDS, "command"))
        COMMANDS[arguments[0]](arguments[1:])
    except (SpecError, RunError, EnvironmentProblem) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        print(f"{error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    return 0


def demo(arguments: list[str]) -> None:
    """The main job, through papermill: run folder, executed notebook, report."""
    from dfkd_lab import notebook

    @dataclasses.dataclass
    class Demo:
        """SSD-KD on scikit-learn's digits with a buffer of 1,000 images; needs no file but the installation."""

        seed: int = dataclasses.field(default=0, metadata={"help": "seed of all random numbers of the run"})
        out: str = dataclasses.field(default="", metadata={"help": "run folder; empty is runs/demo-seed<seed>"})

    wish = tyro.cli(Demo, prog="dfkd_lab demo", args=arguments)
    out = wish.out or f"runs/demo-seed{wish.seed}"
    folder = notebook.execute("10_run", {"method": "ssd_kd", "seed": str(wish.seed), "out": out})
    assert folder is not None
    print(f"report {folder.path / 'report.html'}")
    conclude(folder)


def run(arguments: list[str]) -> None:
    """One run of one method, settings as flags."""
    if not arguments or arguments[0].startswith("-"):
        print(USAGE, end="")
        print("\nmethods: " + ", ".join(methods.METHODS))
        return
    execute(plan(method=arguments[0], **parse(arguments[0], arguments[1:])))


def resume(arguments: list[str]) -> None:
    """Continue a run folder."""
    if len(arguments) != 1:
        raise SpecError("resume takes one run folder, as in: resume runs/ssd_kd-digits-convnet_8-seed0")
    folder = _folder(arguments[0])
    execute(dataclasses.replace(folder.spec(), out=str(folder.path)))


def execute(spec: RunSpec) -> None:
    """Run ``spec`` with a progress bar. The first interrupt ends it after its round, the second at once."""
    session = Session(spec)
    print(session.footprint, file=sys.stderr)
    bar = tqdm(total=spec.rounds, initial=session.run.round, unit="round", dynamic_ncols=True)
    accuracy: float | None = None
    try:
        with first_interrupt(session.stop, "stopping after this round; interrupt again to stop at once"), bar:
            for report in session:
                accuracy = accuracy if report.accuracy is None else report.accuracy
                bar.set_postfix_str(postfix({**report.event(), "accuracy": accuracy}), refresh=False)
                bar.update()
                for alarm in report.alarms:
                    tqdm.write(f"round {report.round}: {alarm}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"stopped at once; {session.folder.status()['message']}", file=sys.stderr)
        raise
    conclude(session.folder)


def conclude(folder: RunFolder) -> None:
    """The last line: the result of a finished run, or how to go on with a stopped one."""
    status = folder.status()
    if status["state"] == "finished":
        print(summary(folder))
        return
    print(f"{status['state']} after round {status['round']} of {status['rounds']}; continue with: resume {folder.path}")
    raise SystemExit(130)


def list_(arguments: list[str]) -> None:
    """The run folders below runs/, newest first."""
    found = list_runs(*arguments[:1])
    if not found:
        print("no runs yet; begin with: python -m dfkd_lab demo")
    rows = [{"run": folder.path, **_headline(folder.result())} for folder in found]
    print(plain_table(rows))
    _print_remarks(found)


def compare(arguments: list[str]) -> None:
    """Results side by side, and the settings that differ."""
    if not arguments:
        raise SpecError("compare takes run folders, as in: compare runs/a runs/b")
    folders = [_folder(name) for name in arguments]
    print(plain_table([{"run": folder.name, **_headline(folder.result())} for folder in folders]))
    _print_remarks(folders)
    first = record(folders[0].spec())
    for folder in folders[1:]:
        changed = difference(record(folder.spec()), first)
        print(f"\n{folders[0].name} -> {folder.name}: " + ("; ".join(changed) or "same settings"))


def methods_(arguments: list[str]) -> None:
    """The methods; --json for programs, --table for the README, --diagram NAME for a picture of the slots."""
    if arguments[:1] == ["--diagram"] and len(arguments) in (2, 3):
        name = arguments[1]
        path = Path(arguments[2] if len(arguments) == 3 else f"{name}.svg")
        path.write_text(diagram(name, catalogue.compose_on_digits(name)))
        print(path)
        return
    if arguments not in ([], ["--json"], ["--table"]):
        raise SpecError(f"methods takes --json, --table or --diagram NAME [FILE.svg], not {' '.join(arguments)}")
    if arguments == ["--table"]:
        print(catalogue.table())
        return
    found = [catalogue.describe(name) for name in methods.METHODS]
    if arguments:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        print(f"{row['name']}: {row['summary']}\n  {row['citation']}; {row['certainty']}")
        print("".join(f"  {slot}: {filling}\n" for slot, filling in row["slots"].items()))


def notebook_(arguments: list[str]) -> None:
    """A notebook through papermill."""
    from dfkd_lab import notebook

    if not arguments:
        raise SpecError("notebook takes a name, as in: notebook 10_run -p method dafl")
    name, *rest = arguments
    if len(rest) % 3 or any(word != "-p" for word in rest[::3]):
        raise SpecError("parameters are given as: -p key value")
    folder = notebook.execute(name, dict(zip(rest[1::3], rest[2::3], strict=True)))
    if folder is not None:
        conclude(folder)


def check_(arguments: list[str]) -> None:
    """Is this installation usable?"""
    environment.check()
    print("ready: " + ", ".join(f"{name} {number}" for name, number in environment.versions().items()))


def _folder(name: str) -> RunFolder:
    for path in (Path(name), Path("runs") / name):
        if RunFolder(path).exists():
            return RunFolder(path)
    raise SpecError(unknown(name, [str(folder.path) for folder in list_runs()], "run folder"))


def _headline(result: dict[str, Any]) -> dict[str, Any]:
    names = ("state", "rounds", "last", "mu", "sigma", "oracle_best", "teacher", "agreement", "seconds", "images")
    shown = {name: result.get(name) for name in (*names, "teacher_queries")}
    return {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in shown.items()}


def _print_remarks(folders: list[RunFolder]) -> None:
    for folder in folders:
        if found := remark(folder):
            print(f"{folder.name} {found}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": demo,
    "run": run,
    "resume": resume,
    "list": list_,
    "compare": compare,
    "methods": methods_,
    "teachers": teacher_commands.show,
    "train-teacher": teacher_commands.train,
    "bench": bench.command,
    "notebook": notebook_,
    "check": check_,
}

if __name__ == "__main__":
    raise SystemExit(main())
