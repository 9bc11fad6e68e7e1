"""The command line: ``python -m dfkd_lab --help``."""

from __future__ import annotations

import sys
from importlib import import_module

from dfkd_lab.errors import EnvironmentProblem, RunError, SpecError, said
from dfkd_lab.spec import unknown
from dfkd_lab.system.processes import tune_process
from dfkd_lab.system.text import printable

USAGE = """dfkd_lab: data-free knowledge distillation

  demo [--data scenes]          the main job: SSD-KD on scikit-learn's digits, or on scenes of them, with a report
  run METHOD [--setting value]  one run; run METHOD --help lists its settings
  resume RUN [--trust-code]     continue a run folder; a Python file that it names is executed only with the flag
  sweep SPEC.yaml [--jobs N]    a grid of runs, planned as a whole; the same command continues it
  queue [--root FOLDER]         compute what was put into the panel's queue; the panel begins this itself
  list [FOLDER] [--all]         the run folders below runs/, or FOLDER; those of lessons too with the flag
  compare RUN...                results side by side, and the settings that differ
  report RUN                    report.html of a run folder; of a folder that holds some, sweep.html about them all
  examine RUN [--trust-code]    which class is taken for which, on the evaluation set and on the synthetic images
  export RUN [--to FORMATS]     the student of a run as files that work without dfkd_lab; --help lists them
  methods [--json | --table]    the methods, with citation, certainty and slots
  methods --diagram NAME [FILE] the slots of a method as a picture (SVG)
  teachers [FILE...] [--data D] the teachers at hand, or those given, measured now
  train-teacher NET --data SET  a teacher from real images, by one short recipe; the same command continues it
  bench [--json]                how fast the loop is here, and what its time goes into
  notebook NAME -p key value    a notebook, headless, its parameters checked first; notebook NAME --help lists them
  check                         is this installation usable?
  --version                     which dfkd_lab this is
"""

COMMANDS = {
    "demo": "runs.demo",
    "run": "runs.run",
    "resume": "runs.resume",
    "sweep": "sweep.run",
    "queue": "queue.run",
    "list": "runs.show",
    "compare": "runs.compare",
    "report": "report.write",
    "examine": "examine.show",
    "export": "export.write",
    "methods": "methods.show",
    "teachers": "teachers.show",
    "train-teacher": "teachers.train",
    "bench": "bench.run",
    "notebook": "notebook.run",
    "check": "installation.check",
    "--version": "installation.version",
}
"""Each command's function below ``dfkd_lab.cli``; imported when it is called, as most of them import torch."""
WITHOUT_FLAGS = ("resume", "list", "compare", "report", "examine", "methods", "check", "--version")
"""The commands whose lines above are their whole help; the others know their own."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 if refused, 75 to be called again, 130 if stopped or interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    try:
        if arguments[0] not in COMMANDS:
            raise SpecError(unknown(arguments[0], COMMANDS, "command"))
        if arguments[0] in WITHOUT_FLAGS and not {"-h", "--help"}.isdisjoint(arguments):
            print(*(line for line in USAGE.splitlines() if line.split()[:1] == [arguments[0]]), sep="\n")
            return 0
        tune_process()
        module, _, function = COMMANDS[arguments[0]].partition(".")
        getattr(import_module(f"dfkd_lab.cli.{module}"), function)(arguments[1:])
    except (SpecError, RunError, EnvironmentProblem) as error:
        print(*map(printable, said(error)), sep="\n", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        print(printable(f"{error.strerror}: {error.filename}"), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
