"""Whose runs a kernel sees: all in runs/, or those of one visitor of a page that Voilà serves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path
from urllib.parse import parse_qs

from filelock import FileLock

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import RunFolder, launching, list_runs, named_folder, runs_root, standing
from dfkd_lab.runs.standing import AT_WORK
from dfkd_lab.sweeps import Order
from dfkd_lab.system.files import write_atomically
from dfkd_lab.system.stored import read_json
from widgets import status

VISITORS = "visitors"
RETURNING = "visitor"
"""What the address of a served page calls the runs to come back to."""
TOKEN = re.compile("[0-9a-f]{32}")
TURN, TURN_S = ".turn.json", 30.0
"""Which kernel was let begin last, and for how long no other is; a process is begun within a second or two."""
ONE_AT_A_TIME = "a served page computes one run of a visitor at a time"


def own_root() -> Path:
    """Where this kernel's run folders are: runs/, on a served page a folder below it that no other kernel is shown.

    A visitor who comes back by the address that ends in :func:`way_back` finds the folder of before.
    """
    return runs_root() / VISITORS / _token() if status.is_served() else runs_root()


def way_back() -> str:
    """The end of the address that leads to this visitor's runs; who has it is that visitor. Empty if not served."""
    return f"?{RETURNING}={_token()}" if status.is_served() else ""


def check_inside(out: str, root: Path) -> None:
    """Refuse a run folder that is not below ``root``, by its name or behind a link, on a served page.

    Raises:
        SpecError: if it is not.
    """
    if not out or not status.is_served():
        return
    outside = out.startswith("~") or Path(out).is_absolute()
    if outside or not named_folder(out, root).resolve().is_relative_to(root.resolve()):
        raise SpecError(f"out = {out!r} leads out of your own runs; allowed on a served page: a name below runs/")


def check_alone(root: Path) -> None:
    """Refuse to begin a run on a served page while another of this visitor's is at work: a class shares one machine.

    A visitor who opens the page twice has two kernels: the one that is let begin has the turn for ``TURN_S``.

    Raises:
        RunError: naming that run, if it has begun already.
    """
    if not status.is_served():
        return
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".turn.lock"):
        others = [each.name for each in list_runs(root) if _is_at_work(each)]
        if others or launching.at_work() or Order(root).is_begun() or _is_anothers_turn(root / TURN):
            other = others[0] if others else "another run of yours"
            raise RunError(f"{other} is at work, and {ONE_AT_A_TIME}; stop it first")
        write_atomically(root / TURN, json.dumps(standing.process(os.getpid())).encode())


def _is_at_work(folder: RunFolder) -> bool:
    return folder.status()["state"] in AT_WORK or launching.is_starting(folder)


def _is_anothers_turn(file: Path) -> bool:
    """Whether another kernel was let begin a moment ago, and lives."""
    try:
        kernel = read_json(file, launching.PROCESS, "remove it")
        age_s = time.time() - file.stat().st_mtime
    except (RunError, OSError):
        return False
    return kernel["pid"] != os.getpid() and age_s < TURN_S and standing.lives_here(kernel)


def _token() -> str:
    """Not to be guessed: the one that the page was asked for, if it has runs, else one made from the kernel's name.

    The kernel's name itself opens its channels, so it is no part of an address or a folder.
    """
    given = parse_qs(os.environ.get("QUERY_STRING", "")).get(RETURNING, [""])[0]
    if TOKEN.fullmatch(given) and (runs_root() / VISITORS / given).is_dir():
        return given
    return hashlib.sha256(os.environ[status.SERVED_VARIABLE].encode()).hexdigest()[:32]
