"""How a command about a run ends."""

from __future__ import annotations

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
