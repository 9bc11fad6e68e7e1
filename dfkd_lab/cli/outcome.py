"""How a command about a run, or about many, ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dfkd_lab.cli.tables import plain_table
from dfkd_lab.errors import SpecError
from dfkd_lab.runs import RunFolder, summary
from dfkd_lab.system.text import printable


def conclude(folder: RunFolder, code: int = 130) -> None:
    """The last line: the result of a finished run, or how to go on with a stopped one, and ``code`` as exit status."""
    status = folder.status()
    if status["state"] == "finished":
        print(printable(summary(folder)))
        return
    done = f"{status['state']} after round {status['round']} of {status['rounds']}"
    print(printable(f"{done}; continue with: resume {folder.path}"))
    raise SystemExit(code)


def conclude_all(
    folders: Sequence[RunFolder],
    unfinished: int,
    left: Mapping[str, str] | None = None,
    name_of: Callable[[RunFolder], str] = lambda folder: folder.name,
) -> None:
    """The table of all runs, and the exit status: ``unfinished`` unless all are finished or some are ``left``."""
    rows = [_row(folder, name_of(folder)) for folder in folders]
    print(plain_table(rows))
    if left:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left.items())
        raise SpecError(f"{len(left)} of {len(folders)} runs are not finished ({reasons})")
    if (finished := sum(row["state"] == "finished" for row in rows)) < len(rows):
        print(f"{finished} of {len(rows)} runs are finished; run the same command again")
        raise SystemExit(unfinished)


def _row(folder: RunFolder, name: str) -> dict[str, object]:
    result = folder.result()
    shown = ("rounds", "last", "teacher", "agreement", "seconds")
    return {"run": name, "state": result["state"], **{name: result.get(name) for name in shown}}
